// Statistics against numbers that can be counted by hand.
#include "framework/sweep/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace quell {
namespace {

using Values = std::vector<double>;

TEST(Statistics, MeanAndStandardDeviation) {
  EXPECT_DOUBLE_EQ(mean(Values{1, 2, 3, 4}), 2.5);
  EXPECT_DOUBLE_EQ(standard_deviation(Values{1, 2, 3, 4}), std::sqrt(5.0 / 3.0));
  EXPECT_TRUE(std::isnan(standard_deviation(Values{1})));
  EXPECT_TRUE(std::isnan(mean(Values{})));
}

TEST(Bootstrap, CountsAllResamplesOfFewValues) {
  const Interval two = bootstrap_interval(Values{0, 1});  // 0, 1/2, 1/2, 1
  EXPECT_EQ(two.low, 0);
  EXPECT_EQ(two.high, 1);
  // The mean of a resample is a count over 4 from Binomial(4, 1/4), whose distribution function is
  // 0.316, 0.738, 0.949, 0.996, 1.
  const Interval four = bootstrap_interval(Values{0, 0, 1, 0});
  EXPECT_EQ(four.low, 0);
  EXPECT_EQ(four.high, 0.75);
  EXPECT_TRUE(std::isnan(bootstrap_interval(Values{1}).low));
}

TEST(Bootstrap, DrawsResamplesOfManyValues) {
  // Binomial(20, 1/2) has 2.1 % up to 5 and 5.8 % up to 6, 94.2 % up to 13 and 97.9 % up to 14.
  Values values(20, 0.0);
  for (size_t i = 0; i < 10; ++i) values[i] = 1;
  const Interval interval = bootstrap_interval(values);
  EXPECT_DOUBLE_EQ(interval.low, 0.3);
  EXPECT_DOUBLE_EQ(interval.high, 0.7);
  EXPECT_EQ(bootstrap_interval(values).low, interval.low);  // the same every time
}

TEST(SignFlip, CountsAllSignsOfFewDifferences) {
  EXPECT_DOUBLE_EQ(sign_flip_p(Values{1, 1, 1, 1}), 2.0 / 16);
  EXPECT_DOUBLE_EQ(sign_flip_p(Values{1, 0, 1, 0, 1, 1}), 2.0 / 16);  // zeros have no sign
  EXPECT_DOUBLE_EQ(sign_flip_p(Values{1, -1}), 1);
  EXPECT_DOUBLE_EQ(sign_flip_p(Values{0, 0}), 1);
  // |sum| of 3, 1, 1 reaches 3 unless both ones are against the three: 6 of 8.
  EXPECT_DOUBLE_EQ(sign_flip_p(Values{3, 1, -1}), 6.0 / 8);
}

TEST(SignFlip, DrawsSignsOfManyDifferences) {
  EXPECT_DOUBLE_EQ(sign_flip_p(Values(30, 1.0)), 1.0 / 10001);
  Values even(40, 1.0);
  for (size_t i = 0; i < 20; ++i) even[i] = -1;
  EXPECT_DOUBLE_EQ(sign_flip_p(even), 1);
  // 30 against 10: the same as McNemar's test, p = 0.0022; three standard errors of 10000 draws.
  for (size_t i = 10; i < 20; ++i) even[i] = 1;
  EXPECT_NEAR(sign_flip_p(even), mcnemar_p(30, 10), 0.0015);
}

TEST(McNemar, IsTheBinomialTest) {
  EXPECT_NEAR(mcnemar_p(1, 9), 22.0 / 1024, 1e-12);
  EXPECT_NEAR(mcnemar_p(9, 1), 22.0 / 1024, 1e-12);
  EXPECT_NEAR(mcnemar_p(0, 5), 2.0 / 32, 1e-12);
  EXPECT_EQ(mcnemar_p(5, 5), 1);
  EXPECT_EQ(mcnemar_p(0, 0), 1);
}

}  // namespace
}  // namespace quell

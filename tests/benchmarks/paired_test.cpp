// What benchmarks say about their ratios.
#include "tests/benchmarks/support/paired.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

namespace quell::benchmarks {
namespace {

TEST(Paired, Median) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median({7}), 7);
}

// The ranks between which the median of 101 values lies with 95 % confidence follow from the
// binomial distribution: 41 and 61, counted from 1. Resampling finds them up to a rank.
TEST(Paired, TheIntervalIsThatOfOrderStatistics) {
  std::vector<double> values(101);
  std::iota(values.begin(), values.end(), 1);
  const Interval interval = median_interval(values);
  EXPECT_NEAR(interval.low, 41, 1);
  EXPECT_NEAR(interval.high, 61, 1);
}

TEST(Paired, EqualValuesLeaveNoDoubt) {
  const Interval interval = median_interval(std::vector<double>(9, 1.5));
  EXPECT_EQ(interval.low, 1.5);
  EXPECT_EQ(interval.high, 1.5);
}

// Each round takes own, baseline, baseline, own, after one call of each.
TEST(Paired, RoundsAlternate) {
  std::string calls;
  const PairedRatio pair = measure([&] { calls += 'o'; }, [&] { calls += 'b'; },
                                   {.least_rounds = 3, .most_rounds = 3, .seconds = 0});
  EXPECT_EQ(calls,
            "ob"
            "obbo"
            "obbo"
            "obbo");
  EXPECT_EQ(pair.rounds, 3);
  EXPECT_LE(pair.low, pair.ratio);
  EXPECT_GE(pair.high, pair.ratio);
}

}  // namespace
}  // namespace quell::benchmarks

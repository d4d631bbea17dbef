// The logarithm of a sum of exponentials against its formula in double precision.
#include "framework/kernels/log_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace quell::kernels {
namespace {

struct Found {
  std::vector<float> largest, log_sum;
  explicit Found(const std::vector<float>& rows, int64_t columns) {
    const auto count = static_cast<int64_t>(rows.size()) / columns;
    largest.resize(count);
    log_sum.resize(count);
    kernels::log_sum(rows.data(), count, columns, largest.data(), log_sum.data());
  }
};

std::vector<float> random_rows(int64_t count, int64_t columns, float spread) {
  std::mt19937 generator(3);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> rows(count * columns);
  for (float& value : rows) value = normal(generator);
  return rows;
}

TEST(LogSum, IsThatOfDoublePrecision) {
  for (const int64_t columns : {1, 2, 15, 16, 17, 100, 6000, 65535, 65536, 65537, 150000}) {
    for (const float spread : {0.01F, 3.0F, 100.0F}) {
      constexpr int64_t kRows = 7;
      const std::vector<float> rows = random_rows(kRows, columns, spread);
      const Found found(rows, columns);
      for (int64_t i = 0; i < kRows; ++i) {
        const auto begin = rows.begin() + i * columns;
        const float largest = *std::max_element(begin, begin + columns);
        double sum = 0;
        for (auto at = begin; at != begin + columns; ++at) sum += std::exp(double{*at} - largest);
        EXPECT_EQ(found.largest[i], largest);
        // Exponentials are right to 2^-23; each of the sums rounds as often as it is added to.
        const double tolerance =
            1e-6 + 0x1p-24 * static_cast<double>(columns > 65536 ? 512 : columns) / 16;
        EXPECT_NEAR(found.log_sum[i], std::log(sum), tolerance) << columns << " " << spread;
      }
    }
  }
}

TEST(LogSum, DoesNotDependOnOtherRows) {
  constexpr int64_t kColumns = 137;
  const std::vector<float> rows = random_rows(9, kColumns, 2);
  const Found all(rows, kColumns);
  const Found alone({rows.begin() + 4 * kColumns, rows.begin() + 5 * kColumns}, kColumns);
  EXPECT_EQ(all.log_sum[4], alone.log_sum[0]);
}

TEST(LogSum, NanStaysAndInfinityBecomesIt) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const size_t place : {0, 20, 39}) {
    std::vector<float> row(40, 1.0F);
    row[place] = kNan;
    EXPECT_TRUE(std::isnan(Found(row, 40).log_sum[0])) << place;
    row[place] = kInfinity;
    EXPECT_TRUE(std::isnan(Found(row, 40).log_sum[0])) << place;
    row[place] = -kInfinity;
    EXPECT_NEAR(Found(row, 40).log_sum[0], std::log(39.0), 1e-6) << place;
  }
}

}  // namespace
}  // namespace quell::kernels

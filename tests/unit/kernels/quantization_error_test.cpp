// The error by prefix sums against a loop over all values.
#include "framework/kernels/quantization_error.h"

#include <algorithm>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

// Both sum in double precision. The prefix sums lose what the largest square is above the error:
// here at most a factor of 1e6.
void expect_equal_errors(const std::vector<float>& x, ScaleZeroPoint grid, Levels levels) {
  const double expected = brute_force(x, grid, levels);
  const double found = SortedValues(x).mean_squared_error(grid, levels);
  double largest = 0;
  for (const float value : x) largest = std::max(largest, static_cast<double>(value) * value);
  EXPECT_NEAR(found, expected, 1e-9 * expected + 1e-15 * largest)
      << "scale " << grid.scale << " zero point " << grid.zero_point;
}

TEST(QuantizationError, EqualsTheLoopOverValues) {
  // 5000 values are sorted by digits, 300 by comparing.
  for (const size_t count : {1u, 2u, 300u, 5000u}) {
    for (const float outlier : {1.0f, 50.0f}) {
      const std::vector<float> x = normal_values(count, outlier, 97);
      for (const int bits : {2, 4, 6, 8, 12}) {
        for (const bool symmetric : {false, true}) {
          const AffineRule rule = affine_rule(Grid::kOs, bits, symmetric);
          for (const float reach : {0.01f, 0.7f, 3.1f, 60.0f}) {
            expect_equal_errors(x, scale_zero_point(rule, -0.8f * reach, reach), rule.levels);
          }
        }
      }
    }
  }
}

TEST(QuantizationError, TiesFallAsInTheQuantizer) {
  for (const float scale : {0.1f, 0.30000001f, 1.0f / 3, 7.7e-3f}) {
    for (const float zero_point : {0.0f, 7.0f, 8.0f}) {
      for (int step = -20; step <= 20; ++step) {
        const float tie = (static_cast<float>(step) + 0.5f) * scale;
        for (const float x : {tie, std::nextafter(tie, -1e9f), std::nextafter(tie, 1e9f)}) {
          expect_equal_errors({x}, {scale, zero_point}, {0, 15});
          expect_equal_errors({x}, {scale, zero_point}, {-8, 7});
        }
      }
    }
  }
}

TEST(QuantizationError, SortsZerosSubnormalsAndLargeValues) {
  std::vector<float> x = normal_values(4096, 1.0f, 97);
  x[0] = -0.0f;
  x[1] = 0.0f;
  x[2] = 1e-42f;
  x[3] = -1e-42f;
  x[4] = 3e38f;
  x[5] = -3e38f;
  const SortedValues sorted(x);
  EXPECT_EQ(sorted.range().min, -3e38f);
  EXPECT_EQ(sorted.range().max, 3e38f);
  EXPECT_TRUE(std::isfinite(sorted.mean_squared_error({1e36f, 7}, {0, 15})));
  EXPECT_TRUE(std::isfinite(sorted.mean_squared_error({1e-8f, 7}, {0, 15})));
  EXPECT_TRUE(std::isinf(sorted.mean_squared_error({INFINITY, 7}, {0, 15})));
}

TEST(QuantizationError, StepsOfAScaleGiveTheSameBits) {
  std::vector<float> x = normal_values(5000, 50.0f, 97);
  for (size_t i = 0; i < 900; ++i) x[i] = 0.25f * static_cast<float>(i % 9);  // many equal ones
  const SortedValues sorted(x);
  for (const Levels levels : {Levels{0, 255}, Levels{-8, 7}}) {
    for (const float scale : {0.5f, 0.0137f, 1.0f / 3}) {
      const ErrorsOfSteps errors(sorted, scale, levels);
      for (float zero_point = levels.low; zero_point <= levels.high; ++zero_point) {
        EXPECT_EQ(errors.mean_squared_error(zero_point, levels),
                  sorted.mean_squared_error({scale, zero_point}, levels))
            << scale << " " << zero_point;
      }
    }
  }
}

// Where a middle between codes is met by many values, and by the ends of bins.
TEST(QuantizationError, ManyEqualValuesOnATie) {
  std::vector<float> x(4000, 0.75f);
  for (size_t i = 0; i < 1000; ++i) x[i] = 0.5f * static_cast<float>(i % 7) - 1.25f;
  for (const float scale : {0.5f, 0.25f, 0.1f}) expect_equal_errors(x, {scale, 8}, {0, 15});
  expect_equal_errors(std::vector<float>(100, 0.75f), {0.5f, 8}, {0, 15});
}

TEST(QuantizationError, GivesUpOnlyWhereItMay) {
  const SortedValues x(normal_values(3000, 1.0f, 97));
  const ScaleZeroPoint grid{0.3f, 8};
  const double error = x.mean_squared_error(grid, {0, 15});
  EXPECT_EQ(x.mean_squared_error(grid, {0, 15}, error), error);
  EXPECT_EQ(x.mean_squared_error(grid, {0, 15}, 2 * error), error);
  EXPECT_GT(x.mean_squared_error(grid, {0, 15}, 0.5 * error), 0.5 * error);
}

}  // namespace
}  // namespace quell::kernels

// Bounds of errors against the errors themselves, and those against a loop over all values.
#include "framework/kernels/binned_values.h"

#include <cmath>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

double error_of(const std::vector<float>& x, ScaleZeroPoint grid, Levels levels) {
  return mean_squared_error(x.data(), static_cast<int64_t>(x.size()), grid, levels);
}

BinnedValues binned(const std::vector<float>& x) {
  const auto size = static_cast<int64_t>(x.size());
  return BinnedValues(x.data(), size, min_max_tensor(x.data(), size));
}

TEST(MeanSquaredError, EqualsTheLoopOnEveryInstructionSet) {
  for (const size_t size : {1u, 15u, 16u, 1003u}) {
    const std::vector<float> x = normal_values(size, 30, 997);
    for (const float scale : {0.05f, 1.0f / 3, 1e-25f}) {
      const ScaleZeroPoint grid{scale, 9};
      const Levels levels{0, 31};
      const double once = error_of(x, grid, levels);
      EXPECT_NEAR(once, brute_force(x, grid, levels), 1e-12 * once);  // another order of sums
      on_every_instruction_set([&] { EXPECT_EQ(error_of(x, grid, levels), once); });
    }
  }
  EXPECT_TRUE(std::isinf(error_of({1.0f}, {INFINITY, 0}, {0, 15})));
}

// Everything on which places could be wrong: few bins in use, values on borders between codes,
// one side, a range far from zero, codes narrower than bins.
TEST(BinnedValues, TheErrorLiesBetweenTheBounds) {
  std::vector<std::vector<float>> sets = {
      normal_values(20000, 1, 997),    normal_values(20000, 300, 997),
      normal_values(20001, 1e5f, 997), normal_values(3, 1, 997),
      normal_values(5000, 1, 997, 50), normal_values(5000, 2, 997, -1000),
      std::vector<float>(300, 0.7f)};
  sets.push_back(normal_values(20000, 4, 997));
  for (float& value : sets.back()) value = std::round(value * 8) / 16;  // ties of the scale 1/8
  sets.back().push_back(0);
  on_every_instruction_set([&] {
    for (const std::vector<float>& x : sets) {
      const BinnedValues bins = binned(x);
      for (const int bits : {2, 4, 8, 12}) {
        for (const bool symmetric : {false, true}) {
          const AffineRule rule = affine_rule(Grid::kOs, bits, symmetric);
          for (const float reach : {1e-3f, 0.3f, 2.5f, 31.875f, 127.5f, 1e4f}) {
            for (const float share : {0.0f, 0.3f, 1.0f}) {
              const ScaleZeroPoint grid =
                  scale_zero_point(rule, -(1 - share) * reach, share * reach);
              const double error = error_of(x, grid, rule.levels);
              const auto [low, high] = bins.error_bounds(grid, rule.levels);
              ASSERT_LE(low, error) << x.size() << " values, " << bits << " bits, scale "
                                    << grid.scale << ", zero point " << grid.zero_point;
              ASSERT_GE(high, error) << x.size() << " values, " << bits << " bits, scale "
                                     << grid.scale << ", zero point " << grid.zero_point;
            }
          }
        }
      }
    }
  });
}

TEST(BinnedValues, BoundsAreNarrow) {
  const std::vector<float> x = normal_values(100000, 2, 997);
  const BinnedValues bins = binned(x);
  const MinMax range = min_max_tensor(x.data(), static_cast<int64_t>(x.size()));
  for (const int bits : {4, 6, 8}) {
    const AffineRule rule = affine_rule(Grid::kOs, bits, /*symmetric=*/false);
    const auto [low, high] =
        bins.error_bounds(scale_zero_point(rule, range.min, range.max), rule.levels);
    EXPECT_LT(high - low, 5e-4 * low) << bits;
    EXPECT_GT(low, 0);
  }
}

TEST(BinnedValues, GivesUpOnlyWhereItMay) {
  const BinnedValues bins = binned(normal_values(30000, 1, 997));
  const ScaleZeroPoint grid{0.3f, 8};
  const auto [low, high] = bins.error_bounds(grid, {0, 15});
  EXPECT_EQ(bins.error_bounds(grid, {0, 15}, low).high, high);
  EXPECT_GT(bins.error_bounds(grid, {0, 15}, 0.5 * low).low, 0.5 * low);
}

TEST(BinnedValues, WhatItCanHold) {
  EXPECT_TRUE(BinnedValues::can_hold({-3e38f, 3e38f}, 10));
  EXPECT_FALSE(BinnedValues::can_hold({0, 0}, 10));
  EXPECT_FALSE(BinnedValues::can_hold({-1, INFINITY}, 10));
  EXPECT_FALSE(BinnedValues::can_hold({-1, 1}, int64_t{1} << 40));
}

}  // namespace
}  // namespace quell::kernels

#include "framework/kernels/grid.h"

#include <cmath>
#include <limits>

namespace quell::kernels {
namespace {

constexpr float kSmallestScale = 1e-8f;

// Like torch.max, torch.min and torch.clamp: a NaN in `value` stays.
float at_least(float value, float bound) { return value < bound ? bound : value; }
float at_most(float value, float bound) { return value > bound ? bound : value; }

float rounded_zero_point(float zero_point, Levels levels) {
  return at_most(at_least(zero_point, levels.low), levels.high);
}

ScaleZeroPoint outlier_suppression(const AffineRule& rule, float min, float max) {
  const float smallest =
      rule.grid == Grid::kOs ? kSmallestScale : std::numeric_limits<float>::epsilon();
  const float low = at_most(min, 0.0f);
  const float high = at_least(max, 0.0f);
  const float steps = rule.levels.high - rule.levels.low;
  if (rule.symmetric) {
    // kOs has an odd number of steps, so half of them is not an integer (127.5 at 8 bits).
    const float reach = std::isnan(high) ? high : at_least(-low, high);
    return {at_least(reach / (steps / 2), smallest), 0.0f};
  }
  const float scale = at_least((high - low) / steps, smallest);
  return {scale, rounded_zero_point(rule.levels.low - std::rint(low / scale), rule.levels)};
}

ScaleZeroPoint qualcomm(const AffineRule& rule, float min, float max) {
  const float low = at_most(min, 0.0f);
  const float high = at_least(max, kSmallestScale);
  if (rule.symmetric) {
    const float reach = std::isnan(high) ? high : at_least(-low, high);
    return {at_least(reach / rule.levels.high, kSmallestScale), 0.0f};
  }
  // The zero point comes from the width before its lower bound is applied.
  const float delta = (high - low) / rule.levels.high;
  const float zero_point = std::rint(-low / delta);
  // `+ 0.0f`: a lower bound of 0 gives -0 here.
  return {at_least(delta, kSmallestScale), rounded_zero_point(zero_point + 0.0f, rule.levels)};
}

}  // namespace

Levels levels(Grid grid, int bits, bool symmetric, bool signed_range) {
  const auto power = [](int exponent) { return static_cast<float>(1 << exponent); };
  if (!symmetric || (grid == Grid::kQualcomm && !signed_range)) return {0.0f, power(bits) - 1};
  const float lowest = -power(bits - 1);
  return {grid == Grid::kOsPlus ? lowest + 1 : lowest, power(bits - 1) - 1};
}

AffineRule affine_rule(Grid grid, int bits, bool symmetric, bool signed_range) {
  return {grid, symmetric, levels(grid, bits, symmetric, signed_range)};
}

ScaleZeroPoint scale_zero_point(const AffineRule& rule, float min, float max) {
  return rule.grid == Grid::kQualcomm ? qualcomm(rule, min, max)
                                      : outlier_suppression(rule, min, max);
}

ScaleZeroPoint scale_zero_point(Grid grid, int bits, bool symmetric, float min, float max) {
  return scale_zero_point(affine_rule(grid, bits, symmetric, min < 0), min, max);
}

}  // namespace quell::kernels

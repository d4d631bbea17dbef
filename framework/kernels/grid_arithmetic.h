// The arithmetic behind scale_zero_point() of grid.h, for the CPU and for kernels on the GPU.
#pragma once

#include <cmath>

#include "framework/kernels/cuda/host_device.h"
#include "framework/kernels/grid.h"

namespace quell::kernels::grid_detail {

// Like torch.max, torch.min and torch.clamp: a NaN in `value` stays.
QUELL_HOST_DEVICE float at_least(float value, float bound) { return value < bound ? bound : value; }
QUELL_HOST_DEVICE float at_most(float value, float bound) { return value > bound ? bound : value; }

QUELL_HOST_DEVICE float rounded_zero_point(float zero_point, Levels levels) {
  return at_most(at_least(zero_point, levels.low), levels.high);
}

QUELL_HOST_DEVICE float reach(float low, float high) {
  return high != high ? high : at_least(-low, high);
}

QUELL_HOST_DEVICE ScaleZeroPoint outlier_suppression(const AffineRule& rule, float min, float max) {
  // The smallest scale of Outlier Suppression+ is the epsilon of float32.
  const float smallest = rule.grid == Grid::kOs ? 1e-8f : 1.1920928955078125e-7f;
  const float low = at_most(min, 0.0f);
  const float high = at_least(max, 0.0f);
  const float steps = rule.levels.high - rule.levels.low;
  if (rule.symmetric) {
    // kOs has an odd number of steps, so half of them is not an integer (127.5 at 8 bits).
    return {at_least(reach(low, high) / (steps / 2), smallest), 0.0f};
  }
  const float scale = at_least((high - low) / steps, smallest);
  return {scale, rounded_zero_point(rule.levels.low - rintf(low / scale), rule.levels)};
}

QUELL_HOST_DEVICE ScaleZeroPoint qualcomm(const AffineRule& rule, float min, float max) {
  const float smallest = 1e-8f;
  const float low = at_most(min, 0.0f);
  const float high = at_least(max, smallest);
  if (rule.symmetric) {
    return {at_least(reach(low, high) / rule.levels.high, smallest), 0.0f};
  }
  // The zero point comes from the width before its lower bound is applied.
  const float delta = (high - low) / rule.levels.high;
  const float zero_point = rintf(-low / delta);
  // `+ 0.0f`: a lower bound of 0 gives -0 here.
  return {at_least(delta, smallest), rounded_zero_point(zero_point + 0.0f, rule.levels)};
}

QUELL_HOST_DEVICE ScaleZeroPoint scale_zero_point(const AffineRule& rule, float min, float max) {
  return rule.grid == Grid::kQualcomm ? qualcomm(rule, min, max)
                                      : outlier_suppression(rule, min, max);
}

}  // namespace quell::kernels::grid_detail

// What the kernels on the GPU do to one value, callable on the CPU too. See fake_quantize.h,
// fake_quantize_gradient.h and min_max.h for the meaning.
#pragma once

#include <cmath>
#include <cstdint>

#include "framework/kernels/cuda/host_device.h"
#include "framework/kernels/grid.h"

namespace quell::kernels::cuda {

// The order of the steps is law; NaN stays NaN.
QUELL_HOST_DEVICE float code_of(float x, float scale, float zero_point, Levels levels) {
  float code = rintf(x / scale) + zero_point;
  code = code < levels.low ? levels.low : code;
  return code > levels.high ? levels.high : code;
}

QUELL_HOST_DEVICE float value_of(float code, float scale, float zero_point) {
  return (code - zero_point) * scale;
}

// NaN has no code: the lowest one stands for it.
QUELL_HOST_DEVICE int integer_code(float code, Levels levels) {
  return static_cast<int>(code == code ? code : levels.low);
}

// Sums over the values of one scale: what dscale is, and dy outside of the grid.
struct GradientSums {
  double scale = 0;
  double outside = 0;
};

QUELL_HOST_DEVICE void merge(const GradientSums& part, GradientSums& sums) {
  sums.scale += part.scale;
  sums.outside += part.outside;
}

// Returns dx and adds the terms of x to `sums`.
QUELL_HOST_DEVICE float gradient_of(float x, float dy, float scale, float zero_point, Levels levels,
                                    GradientSums& sums) {
  const float quotient = x / scale;
  const float rounded = rintf(quotient);
  const float code = rounded + zero_point;
  float slope = rounded - quotient;  // exact
  if (code < levels.low) slope = levels.low - zero_point;
  if (code > levels.high) slope = levels.high - zero_point;
  const bool inside = levels.low <= code && code <= levels.high;
  sums.scale += dy * slope;
  if (!inside) sums.outside += dy;
  return inside ? dy : 0.0f;
}

// The range of some values; `min` alone carries a NaN until canonical().
struct Bounds {
  float min = INFINITY;
  float max = -INFINITY;
};

QUELL_HOST_DEVICE void merge(const Bounds& part, Bounds& bounds) {
  if (part.min < bounds.min || part.min != part.min) bounds.min = part.min;
  if (part.max > bounds.max) bounds.max = part.max;
}

// NaN in both bounds or in none, no -0.
QUELL_HOST_DEVICE Bounds canonical(Bounds bounds) {
  if (bounds.min != bounds.min) bounds.max = bounds.min;
  return {bounds.min + 0.0f, bounds.max + 0.0f};
}

// The bin of x among `count` bins from low to high, -1 outside of them: float32 in the order of
// torch.histc on the CPU.
QUELL_HOST_DEVICE int bin_of(float x, float low, float high, int count) {
  if (!(low <= x && x <= high)) return -1;
  const float place = (x - low) * static_cast<float>(count) / (high - low);
  const float last = static_cast<float>(count - 1);
  return static_cast<int>(place < last ? place : last);
}

}  // namespace quell::kernels::cuda

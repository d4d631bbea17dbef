// Plain transcriptions of what the kernels promise, without any code of theirs.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "framework/kernels/grid.h"

namespace quell::gpu::reference {

inline float code(float x, float scale, float zero_point, kernels::Levels levels) {
  const float quotient = x / scale;
  const float shifted = std::nearbyint(quotient) + zero_point;
  if (shifted < levels.low) return levels.low;
  if (shifted > levels.high) return levels.high;
  return shifted;
}

inline float fake_quantize(float x, float scale, float zero_point, kernels::Levels levels) {
  return (code(x, scale, zero_point, levels) - zero_point) * scale;
}

inline int integer(float x, float scale, float zero_point, kernels::Levels levels) {
  const float found = code(x, scale, zero_point, levels);
  return static_cast<int>(std::isnan(found) ? levels.low : found);
}

struct Range {
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
  bool nan = false;

  void include(float x) {
    nan = nan || std::isnan(x);
    if (x < min) min = x;
    if (x > max) max = x;
  }
  float low() const { return nan ? NAN : min == 0 ? 0.0f : min; }
  float high() const { return nan ? NAN : max == 0 ? 0.0f : max; }
};

inline Range range_of(const float* x, int64_t size) {
  Range range;
  for (int64_t i = 0; i < size; ++i) range.include(x[i]);
  return range;
}

struct Gradients {
  float x, scale, zero_point;
};
inline Gradients gradients(float x, float dy, float scale, float zero_point,
                           kernels::Levels levels) {
  const float quotient = x / scale;
  const float rounded = std::nearbyint(quotient);
  const float code = rounded + zero_point;
  if (code < levels.low) return {0, dy * (levels.low - zero_point), -dy * scale};
  if (code > levels.high) return {0, dy * (levels.high - zero_point), -dy * scale};
  if (std::isnan(code)) return {0, NAN, -dy * scale};
  return {dy, dy * (rounded - quotient), 0};
}

// Two passes in long double.
struct Moments {
  long double mean = 0, m2 = 0, m3 = 0, m4 = 0;
  long double size1 = 0, size2 = 0, size3 = 0, size4 = 0;  // sums of |x| and |x - mean|^k
};
inline Moments moments(const std::vector<float>& x) {
  Moments found;
  for (const float value : x) {
    found.mean += value;
    found.size1 += std::fabs(value);
  }
  found.mean /= static_cast<long double>(x.size());
  found.size1 /= static_cast<long double>(x.size());
  for (const float value : x) {
    const long double d = value - found.mean;
    found.m2 += d * d;
    found.m3 += d * d * d;
    found.m4 += d * d * d * d;
    found.size3 += std::fabs(d * d * d);
  }
  found.size2 = found.m2;
  found.size4 = found.m4;
  return found;
}

}  // namespace quell::gpu::reference

// Fake quantization on pointers: y = (clamp(round(x / scale) + zero_point, low, high) - zero_point)
// * scale, every step rounded to float32 (performance rule 5.1: division, half to even, the zero
// point added after rounding). NaN stays NaN; infinities saturate.
#pragma once

#include <cstdint>

namespace quell::kernels {

// The integer grid: codes low..high.
struct Levels {
  float low;
  float high;
};

// One scale for all of x [size]. `y` may be `x`.
void fake_quantize_tensor(const float* x, float* y, int64_t size, float scale, float zero_point,
                          Levels levels);

// x is [outer, channels, inner], one scale per channel (scale, zero_point: [channels]). A weight
// with one scale per row is [1, rows, columns]; an activation with one per feature is
// [tokens, features, 1]. `y` may be `x`.
void fake_quantize_channels(const float* x, float* y, int64_t outer, int64_t channels,
                            int64_t inner, const float* scale, const float* zero_point,
                            Levels levels);

}  // namespace quell::kernels

// Fake quantization on pointers: y = (clamp(round(x / scale) + zero_point, low, high) - zero_point)
// * scale, every step rounded to float32 (performance rule 5.1: division, half to even, the zero
// point added after rounding). NaN stays NaN; infinities saturate. The same bits on every
// instruction set and for any number of threads. `y` may be `x`; all memory is contiguous.
#pragma once

#include <cstdint>

#include "framework/kernels/grid.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

// One scale for all of x [size].
void fake_quantize_tensor(const float* x, float* y, int64_t size, float scale, float zero_point,
                          Levels levels, ParallelFor parallel_for = serial_for);

// x is [outer, channels, inner], one scale per channel (scale, zero_point: [channels]). A weight
// with one scale per row is [1, rows, columns]; an activation with one per feature is
// [tokens, features, 1].
void fake_quantize_channels(const float* x, float* y, int64_t outer, int64_t channels,
                            int64_t inner, const float* scale, const float* zero_point,
                            Levels levels, ParallelFor parallel_for = serial_for);

// One scale per group of `group_size` neighbouring features, a divisor of `features`, the same for
// all rows of x [rows, features]. scale, zero_point: [features / group_size].
inline void fake_quantize_groups(const float* x, float* y, int64_t rows, int64_t features,
                                 int64_t group_size, const float* scale, const float* zero_point,
                                 Levels levels, ParallelFor parallel_for = serial_for) {
  fake_quantize_channels(x, y, rows, features / group_size, group_size, scale, zero_point, levels,
                         parallel_for);
}

// Dynamic: x is [rows, features], every row quantized by its own range. `scale` and `zero_point`
// ([rows], either may be null) receive what was used. A row that holds NaN becomes NaN.
void fake_quantize_rows_dynamic(const float* x, float* y, int64_t rows, int64_t features,
                                const AffineRule& rule, float* scale = nullptr,
                                float* zero_point = nullptr, ParallelFor parallel_for = serial_for);

// The same with one range per group of `group_size` neighbouring features, a divisor of
// `features`. scale, zero_point: [rows, features / group_size].
inline void fake_quantize_groups_dynamic(const float* x, float* y, int64_t rows, int64_t features,
                                         int64_t group_size, const AffineRule& rule,
                                         float* scale = nullptr, float* zero_point = nullptr,
                                         ParallelFor parallel_for = serial_for) {
  fake_quantize_rows_dynamic(x, y, rows * features / group_size, group_size, rule, scale,
                             zero_point, parallel_for);
}

// The instruction set that these functions use on this machine ("AVX2", "AVX3" for AVX-512, ...).
const char* instruction_set();

}  // namespace quell::kernels

// Quantization to integer codes: clamp(round(x / scale) + zero_point, low, high), rounded as in
// fake_quantize.h, so that (code - zero_point) * scale is what fake quantization gives. Zero points
// are integers. The same codes on every instruction set and for any number of threads.
//
// `y`, where it is given, receives the fake-quantized values of the same pass; it may be `x`.
//
// A NaN has no code: it becomes the lowest one, and the function returns false (else true), so that
// the caller can report it.
#pragma once

#include <cstdint>

#include "framework/kernels/codes.h"
#include "framework/kernels/grid.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

// One scale for all of x [size].
bool quantize_codes_tensor(const float* x, Codes codes, int64_t size, float scale, float zero_point,
                           Levels levels, float* y = nullptr,
                           ParallelFor parallel_for = serial_for);

// x and the codes are [outer, channels, inner], one scale per channel (scale, zero_point:
// [channels]). Groups of neighbouring features are channels: [rows, groups, group size].
bool quantize_codes_channels(const float* x, Codes codes, int64_t outer, int64_t channels,
                             int64_t inner, const float* scale, const float* zero_point,
                             Levels levels, float* y = nullptr,
                             ParallelFor parallel_for = serial_for);

// Dynamic: x and the codes are [rows, features], every row by its own range. `scale` and
// `zero_point` ([rows]) receive what was used. A row that holds NaN has no codes at all. For
// dynamic groups, the rows are the groups.
bool quantize_codes_rows_dynamic(const float* x, Codes codes, int64_t rows, int64_t features,
                                 const AffineRule& rule, float* scale, float* zero_point,
                                 float* y = nullptr, ParallelFor parallel_for = serial_for);

}  // namespace quell::kernels

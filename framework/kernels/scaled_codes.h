// Codes of values whose features are multiplied or divided on the way, so that nobody stores what
// comes out. Codes, ranges and rounding are those of quantize_codes.h and min_max.h on the scaled
// values, to the bit, on every instruction set.
//
// x is [rows, features]. A NaN has no code: it becomes the lowest one, and the function returns
// false.
#pragma once

#include <cstdint>

#include "framework/kernels/grid.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

// Of x / divisor ([features]), all on one grid, whose levels lie in [0, 255]. Serial.
bool quantize_divided_codes(const float* x, const float* divisor, int64_t rows, int64_t features,
                            ScaleZeroPoint grid, Levels levels, uint8_t* codes);

// Of x * factor ([features]), each row with its scale and zero point ([rows]). The levels lie in
// [-128, 127].
bool quantize_multiplied_codes(const float* x, const float* factor, int64_t rows, int64_t features,
                               const float* scale, const float* zero_point, Levels levels,
                               int8_t* codes, ParallelFor parallel_for = serial_for);

// The smallest and largest value of each row of x * factor ([rows]); both are NaN where a value is.
void min_max_multiplied_rows(const float* x, const float* factor, int64_t rows, int64_t features,
                             float* min, float* max, ParallelFor parallel_for = serial_for);

}  // namespace quell::kernels

// The largest value of rows, and the logarithm of the sum of their exponentials less it: what a
// softmax over a vocabulary needs, in one go.
//
// Exponentials are added in 16 float32 sums, that of column j to sum j mod 16, which are then added
// by halves. So LibTorch adds them with AVX-512, and values of programs that use it are met: what
// is small beside the largest is lost alike, which takes 8e-6 from the logarithm over a vocabulary
// of 50,000. With more than 65,536 columns that would be too much: they are added in blocks of 512,
// and those in double precision. Neither other rows, threads nor the instruction set show in the
// bits, as long as it has fused multiply-adds.
#pragma once

#include <cstdint>

#include "framework/kernels/parallel.h"

namespace quell::kernels {

// log_sum[i] = log(sum over j of exp(rows[i, j] - largest[i])); rows [count, columns], row-major,
// columns > 0. NaN where a row has NaN, or where its largest value is infinite.
void log_sum(const float* rows, int64_t count, int64_t columns, float* largest, float* log_sum,
             ParallelFor parallel_for = serial_for);

}  // namespace quell::kernels

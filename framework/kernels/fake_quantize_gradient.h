// The gradients of fake quantization (fake_quantize.h), as Outlier Suppression's LSQ and LSQ+ train
// with it: straight through the rounding. With r = round(x / scale) and v = r + zero_point,
//
//               low <= v <= high    v < low                  v > high
//   dx          dy                  0                        0
//   dscale      dy (r - x / scale)  dy (low - zero_point)    dy (high - zero_point)
//   dzero_point 0                   -dy scale                -dy scale
//
// where dscale and dzero_point are sums over all values of their scale. A NaN in x counts as
// outside, and makes dscale NaN. x / scale and v are rounded as in the forward pass.
#pragma once

#include <cstdint>

#include "framework/kernels/grid.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

// x, dy (the gradient of the output) and dx (may be dy) are [outer, channels, inner]; scale,
// zero_point, dscale and dzero_point are [channels]. A whole tensor is [1, 1, size].
// One pass: reads x and dy, writes dx. Sums are kept in double beyond runs of eight float32 values,
// in an order that depends on the shape alone, and rounded once: the same bits on every instruction
// set and for any number of threads.
void fake_quantize_gradient(const float* x, const float* dy, float* dx, int64_t outer,
                            int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels, float* dscale,
                            float* dzero_point, ParallelFor parallel_for = serial_for);

}  // namespace quell::kernels

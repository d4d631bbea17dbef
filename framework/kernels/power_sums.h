// From sums of powers around a guess of the mean to moments; how statistics_cpu.cpp ends.
#pragma once

#include <array>
#include <cstdint>

#include "framework/kernels/statistics.h"

namespace quell::kernels {

// Sums of (x - centre)^(k + 1) over `count` values, and what else is known about them.
struct PowerSums {
  double centre = 0;
  std::array<double, 4> sums{};
  float min = 0;
  float max = 0;
  int64_t outside = 0;
};

// The moments of the `count` values x[0], x[stride], ..., whose sums were taken in float32. Where
// those overflowed, underflowed or met a value that is not finite, the values are read again.
Moments moments_of(const PowerSums& found, const float* x, int64_t count, int64_t stride);

// The same sums around centres[i] that lie closer to the means, for `size` sets of `count` values.
// sums: [4][size].
void move_centres(double* sums, float* centres, int64_t size, int64_t count);

}  // namespace quell::kernels

// Central moments in one pass: sums of the powers of (x - shift), with a shift that is one of the
// values. The partial sums of one shift are merged by adding them. Cancellation is bounded: because
// the shift belongs to the sample, each sum is at most about n times as large as the moment that is
// left of it, so a relative error of n * 1e-16 is the worst (the shift is an extreme outlier), and
// a few units of the last digit are usual.
#pragma once

#include <cmath>
#include <cstdint>

#include "framework/kernels/cuda/elements.h"

namespace quell::kernels::cuda {

struct PowerSums {
  double sum1 = 0, sum2 = 0, sum3 = 0, sum4 = 0;
  int64_t beyond = 0;  // |x| > threshold
  Bounds bounds;
};

QUELL_HOST_DEVICE void add(float x, double shift, float threshold, PowerSums& sums) {
  const double distance = static_cast<double>(x) - shift;
  const double square = distance * distance;
  sums.sum1 += distance;
  sums.sum2 += square;
  sums.sum3 += square * distance;
  sums.sum4 += square * square;
  sums.beyond += fabsf(x) > threshold ? 1 : 0;
  merge(Bounds{x, x}, sums.bounds);
}

QUELL_HOST_DEVICE void merge(const PowerSums& part, PowerSums& sums) {
  sums.sum1 += part.sum1;
  sums.sum2 += part.sum2;
  sums.sum3 += part.sum3;
  sums.sum4 += part.sum4;
  sums.beyond += part.beyond;
  merge(part.bounds, sums.bounds);
}

// The mean, and sums of the powers of the distance from it.
struct Moments {
  double mean = 0;
  double m2 = 0;
  double m3 = 0;
  double m4 = 0;
};

// Of `count` values; zeros of none.
QUELL_HOST_DEVICE Moments moments_of(const PowerSums& sums, double shift, int64_t count) {
  if (count == 0) return {};
  const double n = static_cast<double>(count);
  const double d = sums.sum1 / n;
  Moments found;
  found.mean = shift + d;
  found.m2 = sums.sum2 - n * d * d;
  found.m3 = sums.sum3 - 3 * d * sums.sum2 + 2 * n * d * d * d;
  found.m4 = sums.sum4 - 4 * d * sums.sum3 + 6 * d * d * sums.sum2 - 3 * n * d * d * d * d;
  // Rounding must not make these negative.
  found.m2 = found.m2 < 0 ? 0 : found.m2;
  found.m4 = found.m4 < 0 ? 0 : found.m4;
  return found;
}

}  // namespace quell::kernels::cuda

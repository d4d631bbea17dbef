// Central moments of values that arrive in parts. P. Pebay, "Formulas for robust, one-pass parallel
// computation of covariances and arbitrary-order statistical moments", 2008.
#pragma once

#include <cmath>
#include <cstdint>

#include "framework/kernels/cuda/elements.h"

namespace quell::kernels::cuda {

// Of `count` values: m2, m3, m4 are sums of the powers of their distance from the mean.
struct Moments {
  double count = 0;
  double mean = 0;
  double m2 = 0;
  double m3 = 0;
  double m4 = 0;
  int64_t beyond = 0;  // |x| > threshold
  Bounds bounds;
};

QUELL_HOST_DEVICE void merge(const Moments& part, Moments& moments) {
  if (part.count == 0) return;
  if (moments.count == 0) {
    moments = part;
    return;
  }
  const double a = moments.count, b = part.count, n = a + b;
  const double delta = part.mean - moments.mean;
  const double step = delta / n;
  const double square = step * step;
  const double product = delta * step * a * b;
  moments.m4 += part.m4 + product * square * (a * a - a * b + b * b) +
                6 * square * (a * a * part.m2 + b * b * moments.m2) +
                4 * step * (a * part.m3 - b * moments.m3);
  moments.m3 += part.m3 + product * step * (a - b) + 3 * step * (a * part.m2 - b * moments.m2);
  moments.m2 += part.m2 + product;
  moments.mean += step * b;
  moments.count = n;
  moments.beyond += part.beyond;
  merge(part.bounds, moments.bounds);
}

// Sums of the powers of (x - shift). The shift is the first value, hence one of the sample: that
// bounds the cancellation in moments() to about count * epsilon.
struct PowerSums {
  double shift = 0;
  double sum1 = 0, sum2 = 0, sum3 = 0, sum4 = 0;
  uint32_t count = 0;
  uint32_t beyond = 0;
  Bounds bounds;
};

QUELL_HOST_DEVICE void add(float x, float threshold, PowerSums& sums) {
  if (sums.count == 0) sums.shift = x;
  const double distance = static_cast<double>(x) - sums.shift;
  const double square = distance * distance;
  sums.sum1 += distance;
  sums.sum2 += square;
  sums.sum3 += square * distance;
  sums.sum4 += square * square;
  sums.count += 1;
  sums.beyond += fabsf(x) > threshold ? 1 : 0;
  merge(Bounds{x, x}, sums.bounds);
}

QUELL_HOST_DEVICE Moments moments_of(const PowerSums& sums) {
  Moments result;
  if (sums.count == 0) return result;
  const double n = sums.count;
  const double d = sums.sum1 / n;
  result.count = n;
  result.mean = sums.shift + d;
  result.m2 = sums.sum2 - n * d * d;
  result.m3 = sums.sum3 - 3 * d * sums.sum2 + 2 * n * d * d * d;
  result.m4 = sums.sum4 - 4 * d * sums.sum3 + 6 * d * d * sums.sum2 - 3 * n * d * d * d * d;
  // Rounding must not make them negative.
  result.m2 = result.m2 < 0 ? 0 : result.m2;
  result.m4 = result.m4 < 0 ? 0 : result.m4;
  result.beyond = sums.beyond;
  result.bounds = sums.bounds;
  return result;
}

}  // namespace quell::kernels::cuda

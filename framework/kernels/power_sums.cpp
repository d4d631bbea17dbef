#include "framework/kernels/power_sums.h"

#include <algorithm>
#include <cmath>

#include "framework/kernels/min_max.h"

namespace quell::kernels {
namespace {

// In double precision, reading twice.
Moments careful_moments(const float* x, int64_t count, int64_t stride, int64_t outside) {
  MinMax range;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    merge(MinMax{x[i * stride], x[i * stride]}, range);
    sum += x[i * stride];
  }
  range = canonical(range);
  Moments moments;
  moments.count = count;
  moments.mean = sum / static_cast<double>(count);
  moments.min = range.min;
  moments.max = range.max;
  moments.outside = outside;
  if (!std::isfinite(sum)) moments.mean = std::nan("");
  for (int64_t i = 0; i < count; ++i) {
    const double distance = x[i * stride] - moments.mean;
    const double square = distance * distance;
    moments.m2 += square;
    moments.m3 += square * distance;
    moments.m4 += square * square;
  }
  return moments;
}

// Squares below this could have lost bits of their fourth powers, which float32 keeps from 1e-38
// on.
constexpr double kSmallestSquare = 1e-18;

}  // namespace

Moments moments_of(const PowerSums& found, const float* x, int64_t count, int64_t stride) {
  const auto& [s1, s2, s3, s4] = found.sums;
  const double n = static_cast<double>(count);
  const bool constant = found.min == found.max;
  if (!std::isfinite(s4) || (!constant && !(s2 > kSmallestSquare * n))) {
    return careful_moments(x, count, stride, found.outside);
  }
  const MinMax range = canonical({found.min, found.max});
  if (constant) return {count, range.min, 0, 0, 0, range.min, range.max, found.outside};
  const double shift = s1 / n;
  const double m2 = s2 - shift * s1;
  const double m3 = s3 - 3 * shift * s2 + 2 * shift * shift * s1;
  const double m4 = s4 - 4 * shift * s3 + 6 * shift * shift * s2 - 3 * shift * shift * shift * s1;
  return {count, found.centre + shift, m2, m3, m4, range.min, range.max, found.outside};
}

void move_centres(double* sums, float* centres, int64_t size, int64_t count) {
  double *s1 = sums, *s2 = s1 + size, *s3 = s2 + size, *s4 = s3 + size;
  const double n = static_cast<double>(count);
  for (int64_t i = 0; i < size; ++i) {
    const auto centre = static_cast<float>(centres[i] + s1[i] / n);
    const double shift = static_cast<double>(centre) - centres[i];
    s4[i] += shift * (-4 * s3[i] + shift * (6 * s2[i] + shift * (-4 * s1[i] + shift * n)));
    s3[i] += shift * (-3 * s2[i] + shift * (3 * s1[i] - shift * n));
    s2[i] += shift * (-2 * s1[i] + shift * n);
    s1[i] -= shift * n;
    centres[i] = centre;
  }
}

}  // namespace quell::kernels

#include <cmath>

#include "framework/kernels/min_max.h"
#include "framework/kernels/statistics.h"

namespace quell::kernels {

double Moments::skewness() const {
  return std::sqrt(static_cast<double>(count)) * m3 / std::pow(m2, 1.5);
}

double Moments::kurtosis() const { return static_cast<double>(count) * m4 / (m2 * m2); }

void merge(const Moments& part, Moments& all) {
  if (part.count == 0) return;
  if (all.count == 0) {
    all = part;
    return;
  }
  const double a = static_cast<double>(all.count), b = static_cast<double>(part.count);
  const double n = a + b;
  const double delta = part.mean - all.mean;
  const double step = delta / n;
  const double between = delta * step * a * b;
  all.m4 += part.m4 + between * step * step * (a * a - a * b + b * b) +
            6 * step * step * (a * a * part.m2 + b * b * all.m2) +
            4 * step * (a * part.m3 - b * all.m3);
  all.m3 += part.m3 + between * step * (a - b) + 3 * step * (a * part.m2 - b * all.m2);
  all.m2 += part.m2 + between;
  all.mean += step * b;
  all.count += part.count;
  all.outside += part.outside;
  MinMax range{all.min, all.max};
  merge(MinMax{part.min, part.max}, range);
  all.min = range.min;
  all.max = range.max;
}

}  // namespace quell::kernels

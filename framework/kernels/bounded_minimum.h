// The smallest value of a function of one variable on an interval.
#pragma once

#include <functional>

namespace quell::kernels {

struct BoundedMinimum {
  double argument;
  double value;
  int evaluations;
};

// Brent's method (golden section with parabolic steps) on [low, high], low <= high, both finite:
// step for step the evaluations of SciPy's bounded scalar minimization, down to the last bit of
// every argument. `tolerance` is that of the argument. Finds a local minimum; the ends themselves
// are never evaluated.
BoundedMinimum minimize_bounded(const std::function<double(double)>& function, double low,
                                double high, double tolerance = 1e-5, int max_evaluations = 500);

}  // namespace quell::kernels

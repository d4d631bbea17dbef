// Searches for the range whose grid has the smallest mean squared error. Outlier Suppression, its
// MSE observers.
#pragma once

#include <vector>

#include "framework/kernels/grid.h"
#include "framework/kernels/min_max.h"

namespace quell::kernels {

// Where values lie. Ranges on one side of zero, and symmetric grids, have one free number; the
// others have two.
enum class Side { kBoth, kPositive, kNegative };

// All values at or above zero (zeros alone are positive), at or below it, or neither.
Side side_of(MinMax extremes);

// `values` [n], n > 0, are finite and in any order.

// The best of a grid of candidates, the first of equal ones. One free number: `candidates` bounds
// in equal steps up to the largest absolute value. Two: as many widths, each with every zero
// point, cut to the extremes.
MinMax search_grid(std::vector<float> values, const AffineRule& rule, Side side, int candidates);

// Brent's method over the bound, or over the width with another search over the shift inside of
// it. A local minimum, within 1e-5 of the bound.
MinMax search_brent(std::vector<float> values, const AffineRule& rule, Side side);

}  // namespace quell::kernels

// The search spaces of the third paper's range estimators: with one free number bounds, with two
// half-widths and shifts; up to the largest absolute value and a half. Qualcomm code, its MSE and
// cross-entropy estimators.
#pragma once

#include <functional>
#include <vector>

#include "framework/kernels/grid.h"
#include "framework/kernels/interval.h"

namespace quell::kernels {

// What a search makes small.
using RangeLoss = std::function<double(MinMax range)>;

// The sum over `values` (not empty, finite) of (x - y)^2, where y is x on the grid of a range. Each
// range costs O(codes * log n) or, of few values, O(n); less where many ranges have one scale. For
// one thread at a time.
RangeLoss squared_error(std::vector<float> values, const AffineRule& rule);

struct ShiftedSpace {
  AffineRule rule;
  MinMax extremes;  // of everything that is searched for, all scales together
  int shifts = 0;   // of a range by steps of the grid, to either side; 0: a quarter of the codes

  // The bound alone is free: the grid is symmetric, or nothing is below zero.
  bool one_number() const { return rule.symmetric || extremes.min >= 0; }
  // The range of a bound; one that is below zero where a value is.
  MinMax with_bound(float bound) const { return {extremes.min >= 0 ? 0.0f : -bound, bound}; }
  float widest() const;

  // `steps` bounds in equal steps; or as many half-widths with shifts by fewer than `shifts`
  // whole steps of the grid to either side, cut a half beyond the extremes. In the published
  // order, whose first of equal ones is the best.
  std::vector<MinMax> candidates(int steps) const;

  // Brent's method over the bound, or over the half-width with another search over the shift inside
  // of it, from a hundredth of the widest on: a local minimum of `loss`.
  MinMax search_brent(const RangeLoss& loss) const;
};

}  // namespace quell::kernels

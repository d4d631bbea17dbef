#include "framework/kernels/grid.h"

#include "framework/kernels/grid_arithmetic.h"

namespace quell::kernels {

Levels levels(Grid grid, int bits, bool symmetric, bool signed_range) {
  const auto power = [](int exponent) { return static_cast<float>(1 << exponent); };
  if (!symmetric || (grid == Grid::kQualcomm && !signed_range)) return {0.0f, power(bits) - 1};
  const float lowest = -power(bits - 1);
  return {grid == Grid::kOsPlus ? lowest + 1 : lowest, power(bits - 1) - 1};
}

AffineRule affine_rule(Grid grid, int bits, bool symmetric, bool signed_range) {
  return {grid, symmetric, levels(grid, bits, symmetric, signed_range)};
}

ScaleZeroPoint scale_zero_point(const AffineRule& rule, float min, float max) {
  return grid_detail::scale_zero_point(rule, min, max);
}

ScaleZeroPoint scale_zero_point(Grid grid, int bits, bool symmetric, float min, float max) {
  return scale_zero_point(affine_rule(grid, bits, symmetric, min < 0), min, max);
}

}  // namespace quell::kernels

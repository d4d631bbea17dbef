// The range of some values. Where one is NaN, both bounds are; a zero bound is +0.
#pragma once

#include <limits>

namespace quell::kernels {

// Of no values {+infinity, -infinity}.
struct MinMax {
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
};

// Widens `range` to hold `part`, the range of other values.
inline void merge(MinMax part, MinMax& range) {
  if (part.min < range.min || part.min != part.min) range.min = part.min;
  if (part.max > range.max || part.max != part.max) range.max = part.max;
}

// The form that callers see: NaN in both bounds or in none, no -0.
inline MinMax canonical(MinMax range) {
  if (range.min != range.min) range.max = range.min;
  return {range.min + 0.0f, range.max + 0.0f};
}

}  // namespace quell::kernels

// Sorting of many float32 values, and quantiles of sorted ones.
#pragma once

#include <vector>

namespace quell::kernels {

// Sorts `values`, none of which is NaN: by radix, four digits from the lowest to the highest,
// unless they are few.
void sort_ascending(std::vector<float>& values);

// The quantile of `sorted` (ascending, not empty) at `share` in [0, 1], between neighbours
// linearly: the bits of torch.quantile, whose rank is in float32 (and may fall just below an
// integer).
float quantile_of_sorted(const std::vector<float>& sorted, double share);

}  // namespace quell::kernels

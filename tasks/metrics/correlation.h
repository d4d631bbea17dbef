// Correlations of scores, as SciPy defines them.
#pragma once

#include <span>

namespace quell {

// Pearson correlation in [-1, 1]; NaN for fewer than two entries or when one side is constant.
// Predictions and labels are finite and of equal length.
double pearson(std::span<const double> predictions, std::span<const double> labels);

// Pearson correlation of ranks; equal values share their average rank. NaN as above.
double spearman(std::span<const double> predictions, std::span<const double> labels);

}  // namespace quell

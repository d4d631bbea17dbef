// Metrics of class predictions, as scikit-learn defines them.
#pragma once

#include <cstdint>
#include <span>

namespace quell {

// Share of equal entries; NaN for no entries. Predictions and labels have equal length.
double accuracy(std::span<const int64_t> predictions, std::span<const int64_t> labels);

// 2 TP / (2 TP + FP + FN) of class 1; 0 where it is not defined.
double f1(std::span<const int64_t> predictions, std::span<const int64_t> labels);

// Matthews correlation over any number of classes (Gorodkin 2004); 0 where it is not defined.
// Classes are not negative.
double matthews_correlation(std::span<const int64_t> predictions, std::span<const int64_t> labels);

}  // namespace quell

#include "tasks/metrics/classification.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "framework/base/error.h"

namespace quell {
namespace {

void check_sizes(std::span<const int64_t> predictions, std::span<const int64_t> labels) {
  QUELL_ASSERT(predictions.size() == labels.size(), "one prediction per label");
}

int64_t count_equal(std::span<const int64_t> predictions, std::span<const int64_t> labels) {
  int64_t equal = 0;
  for (size_t i = 0; i < labels.size(); ++i) equal += predictions[i] == labels[i];
  return equal;
}

}  // namespace

double accuracy(std::span<const int64_t> predictions, std::span<const int64_t> labels) {
  check_sizes(predictions, labels);
  if (labels.empty()) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(count_equal(predictions, labels)) / static_cast<double>(labels.size());
}

double f1(std::span<const int64_t> predictions, std::span<const int64_t> labels) {
  check_sizes(predictions, labels);
  int64_t true_positives = 0;
  int64_t errors = 0;  // false positives and false negatives
  for (size_t i = 0; i < labels.size(); ++i) {
    const bool predicted = predictions[i] == 1;
    const bool actual = labels[i] == 1;
    true_positives += predicted && actual;
    errors += predicted != actual;
  }
  const int64_t denominator = 2 * true_positives + errors;
  if (denominator == 0) return 0.0;
  return static_cast<double>(2 * true_positives) / static_cast<double>(denominator);
}

double matthews_correlation(std::span<const int64_t> predictions, std::span<const int64_t> labels) {
  check_sizes(predictions, labels);
  if (labels.empty()) return 0.0;
  const int64_t classes = 1 + std::max(*std::max_element(predictions.begin(), predictions.end()),
                                       *std::max_element(labels.begin(), labels.end()));
  std::vector<double> predicted(classes, 0.0);
  std::vector<double> actual(classes, 0.0);
  for (size_t i = 0; i < labels.size(); ++i) {
    predicted[predictions[i]] += 1.0;
    actual[labels[i]] += 1.0;
  }
  const auto total = static_cast<double>(labels.size());
  double both = 0.0;
  double predicted_squares = 0.0;
  double actual_squares = 0.0;
  for (int64_t k = 0; k < classes; ++k) {
    both += predicted[k] * actual[k];
    predicted_squares += predicted[k] * predicted[k];
    actual_squares += actual[k] * actual[k];
  }
  const double covariance = static_cast<double>(count_equal(predictions, labels)) * total - both;
  const double variances = (total * total - predicted_squares) * (total * total - actual_squares);
  return variances == 0.0 ? 0.0 : covariance / std::sqrt(variances);
}

}  // namespace quell

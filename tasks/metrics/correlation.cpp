#include "tasks/metrics/correlation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "framework/base/error.h"

namespace quell {
namespace {

// Compared value by value: a mean of equal values may round and leave a variance above zero.
bool is_constant(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [&](double v) { return v == values.front(); });
}

std::vector<double> centred(std::span<const double> values) {
  const double mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  std::vector<double> result(values.begin(), values.end());
  for (double& value : result) value -= mean;
  return result;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// 1-based ranks; equal values get the mean of the ranks that they cover.
std::vector<double> average_ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double rank = static_cast<double>(begin + 1 + end) / 2.0;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
    begin = end;
  }
  return ranks;
}

}  // namespace

double pearson(std::span<const double> predictions, std::span<const double> labels) {
  QUELL_ASSERT(predictions.size() == labels.size(), "one prediction per label");
  if (labels.size() < 2 || is_constant(predictions) || is_constant(labels)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const std::vector<double> x = centred(predictions);
  const std::vector<double> y = centred(labels);
  const double correlation = dot(x, y) / (std::sqrt(dot(x, x)) * std::sqrt(dot(y, y)));
  return std::clamp(correlation, -1.0, 1.0);
}

double spearman(std::span<const double> predictions, std::span<const double> labels) {
  return pearson(average_ranks(predictions), average_ranks(labels));
}

}  // namespace quell

#include "transforms/thresholds/threshold_search.h"

#include <ATen/ops/max.h>
#include <ATen/ops/min.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>

#include "framework/base/error.h"

namespace quell {

std::vector<double> threshold_grid(const Range& features, int64_t candidates, double smallest) {
  constexpr double kLargestStep = 0.5;
  const double largest =
      std::max({-features.min.min().item<double>(), features.max.max().item<double>(), 0.0});
  if (!std::isfinite(largest)) throw Error("the rows hold NaN or infinity");
  const int64_t steps = std::max(candidates, static_cast<int64_t>(largest / kLargestStep));
  const double step = (largest - smallest) / static_cast<double>(steps);
  std::vector<double> thresholds;
  if (step <= 0) return thresholds;
  for (double threshold = largest; threshold >= smallest; threshold -= step) {
    thresholds.push_back(threshold);
  }
  return thresholds;
}

ThresholdSearch search_thresholds(ThresholdLoss& loss, std::vector<double> thresholds,
                                  bool early_abandon) {
  const auto rounds = static_cast<int64_t>(loss.rounds());
  ThresholdSearch result;
  result.thresholds = std::move(thresholds);
  result.losses.assign(result.thresholds.size(), 0);
  result.rounds.assign(result.thresholds.size(), 0);
  const auto advance = [&](size_t index) {
    const auto round = static_cast<size_t>(result.rounds[index]++);
    const double more = loss.add(static_cast<float>(result.thresholds[index]), round);
    result.losses[index] += more;
    if (!std::isfinite(result.losses[index])) {
      result.losses[index] = std::numeric_limits<double>::infinity();
    }
  };
  for (size_t i = 0; !early_abandon && i < result.losses.size(); ++i) {
    while (result.rounds[i] < rounds) advance(i);
  }
  // The least loss first, and of equal ones the first.
  using Entry = std::pair<double, size_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  for (size_t i = 0; i < result.losses.size(); ++i) queue.emplace(result.losses[i], i);
  while (!queue.empty()) {
    const auto [least, index] = queue.top();
    if (std::isinf(least)) throw Error("no threshold has a finite loss");
    result.chosen = static_cast<int64_t>(index);
    if (result.rounds[index] == rounds) break;
    advance(index);
    queue.pop();
    queue.emplace(result.losses[index], index);
  }
  return result;
}

}  // namespace quell

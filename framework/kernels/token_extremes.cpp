#include "framework/kernels/token_extremes.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "framework/kernels/sort.h"

namespace quell::kernels {
namespace {

std::vector<float> negated(std::vector<float> values) {
  for (float& value : values) value = -value;
  return values;
}

// A NaN has no order: where there is one, it stands for all.
std::vector<float> one_if_nan(std::vector<float> values) {
  const auto nan =
      std::find_if(values.begin(), values.end(), [](float value) { return std::isnan(value); });
  return nan == values.end() ? std::move(values) : std::vector<float>{*nan};
}

}  // namespace

TokenExtremes::Ends::Ends(std::vector<float> ends)
    : ends_(one_if_nan(std::move(ends))), magnitudes_(ends_.size()) {
  sort_ascending(ends_);
  // The negative ends are in descending order of magnitude, the others in ascending order.
  const auto positive = std::lower_bound(ends_.begin(), ends_.end(), 0.0f);
  const std::vector<float> below = negated({ends_.begin(), positive});
  std::merge(below.rbegin(), below.rend(), positive, ends_.end(), magnitudes_.begin());
}

float TokenExtremes::Ends::bound(double ratio) const {
  const float limit = quantile_of_sorted(magnitudes_, ratio);
  // The token of the smallest magnitude is never beyond.
  return *std::prev(std::upper_bound(ends_.begin(), ends_.end(), limit));
}

TokenExtremes::TokenExtremes(std::vector<float> min, std::vector<float> max)
    : lower_(negated(std::move(min))), upper_(std::move(max)) {}

std::vector<float> TokenExtremes::minima() const { return negated(lower_.ends()); }

MinMax TokenExtremes::clipped(double ratio) const {
  const float low = -lower_.bound(ratio), high = upper_.bound(ratio);
  const auto clip = [&](float x) { return std::min(std::max(x, low), high); };
  return canonical({clip(-lower_.furthest()), clip(upper_.furthest())});
}

}  // namespace quell::kernels

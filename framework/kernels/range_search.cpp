#include "framework/kernels/range_search.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "framework/kernels/binned_values.h"
#include "framework/kernels/bounded_minimum.h"
#include "framework/kernels/quantization_error.h"

namespace quell::kernels {
namespace {

double error_of(const SortedValues& values, const AffineRule& rule, MinMax range,
                double give_up_above = std::numeric_limits<double>::infinity()) {
  return values.mean_squared_error(scale_zero_point(rule, range.min, range.max), rule.levels,
                                   give_up_above);
}

// The range that a bound means.
MinMax with_bound(Side side, float bound) {
  return {side == Side::kPositive ? 0.0f : -bound, side == Side::kNegative ? 0.0f : bound};
}

float largest_absolute(MinMax extremes) { return std::max(std::abs(extremes.min), extremes.max); }

using Visit = std::function<void(MinMax candidate)>;

// One width with every zero point.
void for_each_shift(const AffineRule& rule, MinMax extremes, float width, const Visit& visit) {
  const float step = width / (rule.levels.high - rule.levels.low);
  for (float zero_point = rule.levels.high; zero_point >= rule.levels.low; --zero_point) {
    const float shift = zero_point * step;
    visit({std::max(0.0f - shift, extremes.min), std::min(width - shift, extremes.max)});
  }
}

// In the reverse of the published order, because wide ranges are better than narrow ones and a good
// one makes the others short work.
void for_each_candidate(MinMax extremes, const AffineRule& rule, Side side, int candidates,
                        const Visit& visit) {
  const auto count = static_cast<float>(candidates);
  if (rule.symmetric || side != Side::kBoth) {
    const float step = largest_absolute(extremes) / count;
    for (int i = candidates; i > 0; --i) visit(with_bound(side, step * static_cast<float>(i)));
    return;
  }
  extremes = {std::min(extremes.min, 0.0f), std::max(extremes.max, 0.0f)};
  const float step = (extremes.max - extremes.min) / count;
  for (int i = candidates; i > 0; --i) {
    for_each_shift(rule, extremes, step * static_cast<float>(i), visit);
  }
}

std::vector<MinMax> all_candidates(MinMax extremes, const AffineRule& rule, Side side,
                                   int candidates) {
  std::vector<MinMax> all;
  for_each_candidate(extremes, rule, side, candidates,
                     [&](MinMax candidate) { all.push_back(candidate); });
  return all;
}

// The least error so far. Of equal ones the last is kept, the first of the published order.
struct Best {
  MinMax range;
  double error = std::numeric_limits<double>::infinity();

  void consider(MinMax candidate, double found) {
    if (found > error) return;
    error = found;
    range = candidate;
  }
};

// The candidates that may be the best, by what is known of their errors without sorting.
std::vector<MinMax> possible_candidates(const BinnedValues& values, MinMax extremes,
                                        const AffineRule& rule, Side side, int candidates) {
  struct Possible {
    MinMax range;
    double least;
  };
  std::vector<Possible> kept;
  double limit = std::numeric_limits<double>::infinity();
  for_each_candidate(extremes, rule, side, candidates, [&](MinMax candidate) {
    const auto [low, high] = values.error_bounds(
        scale_zero_point(rule, candidate.min, candidate.max), rule.levels, limit);
    if (low > limit) return;
    limit = std::min(limit, high);
    kept.push_back({candidate, low});
  });
  std::vector<MinMax> ranges;
  for (const Possible& one : kept) {
    if (one.least <= limit) ranges.push_back(one.range);
  }
  return ranges;
}

// Below so many values, and above so many codes, sorting is cheaper than bins, of which there are
// 65,536. Another pass for each of a few candidates is cheaper than sorting, too.
constexpr size_t kManyValues = 100000;
constexpr float kFewCodes = 1024;
constexpr size_t kFewCandidates = 12;

MinMax brent_two_dimensional(const SortedValues& values, const AffineRule& rule) {
  const MinMax extremes = values.range();
  const auto range = [&](double width, double shift) -> MinMax {
    return {static_cast<float>(std::max(-shift, static_cast<double>(extremes.min))),
            static_cast<float>(std::min(width - shift, static_cast<double>(extremes.max)))};
  };
  const auto best_shift = [&](double width) {
    const double step = width / (rule.levels.high - rule.levels.low);
    return minimize_bounded(
        [&](double shift) { return error_of(values, rule, range(width, shift)); },
        step * rule.levels.low, step * rule.levels.high);
  };
  const double widest = extremes.max - extremes.min;
  const double width =
      minimize_bounded([&](double candidate) { return best_shift(candidate).value; },
                       std::min(0.1, 0.01 * widest), widest)
          .argument;
  return range(width, best_shift(width).argument);
}

}  // namespace

Side side_of(MinMax extremes) {
  if (extremes.min >= 0) return Side::kPositive;
  return extremes.max <= 0 ? Side::kNegative : Side::kBoth;
}

MinMax search_grid(std::vector<float> values, const AffineRule& rule, Side side, int candidates) {
  const auto size = static_cast<int64_t>(values.size());
  const MinMax extremes = min_max_tensor(values.data(), size);
  const bool bins = values.size() >= kManyValues &&
                    rule.levels.high - rule.levels.low < kFewCodes &&
                    BinnedValues::can_hold(extremes, size);
  const std::vector<MinMax> tried =
      bins ? possible_candidates(BinnedValues(values.data(), size, extremes), extremes, rule, side,
                                 candidates)
           : all_candidates(extremes, rule, side, candidates);
  if (tried.size() == 1) return tried.front();
  Best best{extremes};
  if (bins && tried.size() <= kFewCandidates) {
    for (const MinMax candidate : tried) {
      const ScaleZeroPoint grid = scale_zero_point(rule, candidate.min, candidate.max);
      best.consider(candidate, mean_squared_error(values.data(), size, grid, rule.levels));
    }
    return best.range;
  }
  const SortedValues sorted(std::move(values));
  for (const MinMax candidate : tried) {
    best.consider(candidate, error_of(sorted, rule, candidate, best.error));
  }
  return best.range;
}

MinMax search_brent(std::vector<float> values, const AffineRule& rule, Side side) {
  const SortedValues sorted(std::move(values));
  if (!rule.symmetric && side == Side::kBoth) return brent_two_dimensional(sorted, rule);
  const double widest = largest_absolute(sorted.range());
  const auto range = [&](double bound) { return with_bound(side, static_cast<float>(bound)); };
  const auto error = [&](double bound) { return error_of(sorted, rule, range(bound)); };
  return range(minimize_bounded(error, std::min(0.1, 0.01 * widest), widest).argument);
}

}  // namespace quell::kernels

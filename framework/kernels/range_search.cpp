#include "framework/kernels/range_search.h"

#include <algorithm>
#include <cmath>

#include "framework/kernels/bounded_minimum.h"

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

// Candidates come in the reverse of the published order, because wide ranges are better than
// narrow ones and a good one makes the others short work; so of equal ones the last is kept.
struct Best {
  MinMax range;
  double error = std::numeric_limits<double>::infinity();

  void consider(const SortedValues& values, const AffineRule& rule, MinMax candidate) {
    const double found = error_of(values, rule, candidate, error);
    if (found > error) return;
    error = found;
    range = candidate;
  }
};

// One width with every zero point.
void consider_shifts(const SortedValues& values, const AffineRule& rule, MinMax extremes,
                     float width, Best& best) {
  const float step = width / (rule.levels.high - rule.levels.low);
  for (float zero_point = rule.levels.high; zero_point >= rule.levels.low; --zero_point) {
    const float shift = zero_point * step;
    best.consider(values, rule,
                  {std::max(0.0f - shift, extremes.min), std::min(width - shift, extremes.max)});
  }
}

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

MinMax search_grid(const SortedValues& values, const AffineRule& rule, Side side, int candidates) {
  const auto count = static_cast<float>(candidates);
  MinMax extremes = values.range();
  Best best{extremes};
  if (rule.symmetric || side != Side::kBoth) {
    const float step = largest_absolute(extremes) / count;
    for (int i = candidates; i > 0; --i) {
      best.consider(values, rule, with_bound(side, step * static_cast<float>(i)));
    }
    return best.range;
  }
  extremes = {std::min(extremes.min, 0.0f), std::max(extremes.max, 0.0f)};
  const float step = (extremes.max - extremes.min) / count;
  for (int i = candidates; i > 0; --i) {
    consider_shifts(values, rule, extremes, step * static_cast<float>(i), best);
  }
  return best.range;
}

MinMax search_brent(const SortedValues& values, const AffineRule& rule, Side side) {
  if (!rule.symmetric && side == Side::kBoth) return brent_two_dimensional(values, rule);
  const double widest = largest_absolute(values.range());
  const auto range = [&](double bound) { return with_bound(side, static_cast<float>(bound)); };
  const auto error = [&](double bound) { return error_of(values, rule, range(bound)); };
  return range(minimize_bounded(error, std::min(0.1, 0.01 * widest), widest).argument);
}

}  // namespace quell::kernels

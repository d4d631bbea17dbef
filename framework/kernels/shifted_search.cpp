#include "framework/kernels/shifted_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <utility>

#include "framework/kernels/binned_values.h"
#include "framework/kernels/bounded_minimum.h"
#include "framework/kernels/quantization_error.h"

namespace quell::kernels {
namespace {

constexpr float kMargin = 0.5f;  // beyond the extremes

float codes_between(const Levels& levels) { return levels.high - levels.low; }
int shifts_to_a_side(const ShiftedSpace& space) {
  if (space.shifts > 0) return space.shifts;
  return static_cast<int>(codes_between(space.rule.levels) + 1) / 4;
}

// Errors on grids of which many have the same scale, as those of a half-width at several shifts.
class ErrorsOfGrids {
 public:
  ErrorsOfGrids(std::vector<float> values, Levels levels)
      : sorted_(std::move(values)), levels_(levels) {}

  double mean_squared_error(ScaleZeroPoint grid) {
    if (!std::isfinite(grid.scale)) return sorted_.mean_squared_error(grid, levels_);
    const auto same = [&](const auto& one) { return one && one->scale() == grid.scale; };
    const auto kept = std::find_if(kept_.begin(), kept_.end(), same);
    if (kept != kept_.end()) return (*kept)->mean_squared_error(grid.zero_point, levels_);
    if (std::find(seen_.begin(), seen_.end(), grid.scale) == seen_.end()) {
      seen_[next_seen_++ % kScales] = grid.scale;
      return sorted_.mean_squared_error(grid, levels_);
    }
    // A scale that comes back is likely to come again.
    auto& place = kept_[next_kept_++ % kScales];
    place = std::make_unique<const ErrorsOfSteps>(sorted_, grid.scale, levels_);
    return place->mean_squared_error(grid.zero_point, levels_);
  }

 private:
  static constexpr size_t kScales = 8;

  SortedValues sorted_;
  Levels levels_;
  std::array<float, kScales> seen_ = {};  // no scale is 0
  std::array<std::unique_ptr<const ErrorsOfSteps>, kScales> kept_;
  size_t next_seen_ = 0, next_kept_ = 0;
};

}  // namespace

RangeLoss squared_error(std::vector<float> values, const AffineRule& rule) {
  // For fewer values than this many of each code, looking at all is cheaper than at each code.
  constexpr float kFewPerCode = 16;
  const auto count = static_cast<int64_t>(values.size());
  const auto sum = static_cast<double>(count);
  const auto grid = [rule](MinMax range) { return scale_zero_point(rule, range.min, range.max); };
  if (static_cast<float>(count) < kFewPerCode * codes_between(rule.levels)) {
    return [=, values = std::move(values)](MinMax range) {
      return sum * mean_squared_error(values.data(), count, grid(range), rule.levels);
    };
  }
  const auto errors = std::make_shared<ErrorsOfGrids>(std::move(values), rule.levels);
  return [=](MinMax range) { return sum * errors->mean_squared_error(grid(range)); };
}

float ShiftedSpace::widest() const {
  return std::max(std::abs(extremes.min), std::abs(extremes.max)) + kMargin;
}

std::vector<MinMax> ShiftedSpace::candidates(int steps) const {
  const double step = static_cast<double>(widest()) / steps;  // rounded to float32 at the end
  std::vector<MinMax> all;
  for (int i = 1; i <= steps; ++i) {
    const double half = step * i;
    if (one_number()) {
      all.push_back(with_bound(static_cast<float>(half)));
      continue;
    }
    const double code = 2 * half / codes_between(rule.levels);
    const auto add = [&](double shift) {
      all.push_back({std::max(static_cast<float>(shift - half), extremes.min - kMargin),
                     std::min(static_cast<float>(shift + half), extremes.max + kMargin)});
    };
    add(0);
    for (int k = 1; k < shifts_to_a_side(*this); ++k) {
      add(k * code);
      add(-k * code);
    }
  }
  return all;
}

MinMax ShiftedSpace::search_brent(const RangeLoss& loss) const {
  const double most = widest(), least = 0.01 * most;
  if (one_number()) {
    const auto found = minimize_bounded(
        [&](double bound) { return loss(with_bound(static_cast<float>(bound))); }, least, most);
    return with_bound(static_cast<float>(found.argument));
  }
  const auto shifted = [](double half, double shift) -> MinMax {
    return {static_cast<float>(shift - half), static_cast<float>(shift + half)};
  };
  const auto best_shift = [&](double half) {
    const double reach = 2 * half / codes_between(rule.levels) * shifts_to_a_side(*this);
    return minimize_bounded([&](double shift) { return loss(shifted(half, shift)); }, -reach,
                            reach);
  };
  const double half =
      minimize_bounded([&](double width) { return best_shift(width).value; }, least, most).argument;
  return shifted(half, best_shift(half).argument);
}

}  // namespace quell::kernels

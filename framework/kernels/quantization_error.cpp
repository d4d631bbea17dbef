#include "framework/kernels/quantization_error.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/kernels/sort.h"

namespace quell::kernels {
namespace {

// Before clamping.
float code_of(float x, ScaleZeroPoint grid) { return std::rint(x / grid.scale) + grid.zero_point; }

// The smallest float that has at least that code. It lies within a few units in the last place of
// the middle between two codes; the grid's own arithmetic decides.
float smallest_with(float code, ScaleZeroPoint grid) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const double step = static_cast<double>(code) - grid.zero_point;
  auto x = static_cast<float>(std::clamp((step - 0.5) * grid.scale, -kLargest, kLargest));
  while (code_of(x, grid) >= code) x = std::nextafter(x, -kInfinity);
  while (code_of(x, grid) < code) x = std::nextafter(x, kInfinity);
  return x;
}

}  // namespace

SortedValues::SortedValues(std::vector<float> values) : values_(std::move(values)) {
  sort_ascending(values_);
  sums_.reserve(values_.size() + 1);
  // Wider than double while adding up, so that each stored sum is right to its last bits.
  long double value = 0, square = 0;
  sums_.push_back({0, 0});
  for (const float x : values_) {
    value += x;
    square += static_cast<double>(x) * x;
    sums_.push_back({static_cast<double>(value), static_cast<double>(square)});
  }
}

int64_t SortedValues::first_with(float code, ScaleZeroPoint grid, int64_t begin,
                                 int64_t end) const {
  const auto first = values_.begin();
  return std::lower_bound(first + begin, first + end, smallest_with(code, grid)) - first;
}

double SortedValues::error_of(int64_t begin, int64_t end, float code, ScaleZeroPoint grid) const {
  if (begin == end) return 0;
  const double y = (code - grid.zero_point) * grid.scale;  // rounded to float32, as dequantized
  const Sums &before = sums_[begin], &after = sums_[end];
  const double error = after.square - before.square - 2 * y * (after.value - before.value) +
                       y * y * static_cast<double>(end - begin);
  return std::max(error, 0.0);  // rounding may leave a little less than nothing
}

double SortedValues::mean_squared_error(ScaleZeroPoint grid, Levels levels,
                                        double give_up_above) const {
  if (!std::isfinite(grid.scale)) return std::numeric_limits<double>::infinity();
  const auto size = static_cast<int64_t>(values_.size());
  // What saturates comes first: it is cheap, and shows most bad grids for what they are.
  const int64_t inner_end = first_with(levels.high, grid, 0, size);
  int64_t begin = first_with(levels.low + 1, grid, 0, inner_end);
  double sum = error_of(0, begin, levels.low, grid) + error_of(inner_end, size, levels.high, grid);
  const double limit = give_up_above * static_cast<double>(size);
  while (begin < inner_end && sum <= limit) {
    const float code = code_of(values_[begin], grid);  // steps over codes that no value has
    const int64_t end = first_with(code + 1, grid, begin + 1, inner_end);
    sum += error_of(begin, end, code, grid);
    begin = end;
  }
  return sum / static_cast<double>(size);
}

}  // namespace quell::kernels

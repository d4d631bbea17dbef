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
  constexpr int64_t kValuesPerBin = 8, kMostBins = 1 << 14;
  const auto size = static_cast<int64_t>(values_.size());
  const int64_t bins = std::clamp<int64_t>(size / kValuesPerBin, 1, kMostBins);
  const double width = static_cast<double>(values_.back()) - values_.front();
  bins_per_value_ = width > 0 ? static_cast<double>(bins) / width : 0;
  bin_begins_.resize(static_cast<size_t>(bins) + 1, size);
  for (int64_t i = size; i-- > 0;) {
    const int64_t bin = std::min(bin_of(values_[static_cast<size_t>(i)]), bins - 1);
    bin_begins_[static_cast<size_t>(bin)] = i;
  }
  for (int64_t bin = bins; bin-- > 0;) {  // empty ones begin where the next one does
    bin_begins_[static_cast<size_t>(bin)] =
        std::min(bin_begins_[static_cast<size_t>(bin)], bin_begins_[static_cast<size_t>(bin) + 1]);
  }
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

int64_t SortedValues::bin_of(double x) const {
  const double bin = (x - values_.front()) * bins_per_value_;
  return static_cast<int64_t>(std::clamp(std::floor(bin), -1.0, static_cast<double>(bins())));
}

int64_t SortedValues::first_from(double x) const {
  if (bin_of(x) < 0) return 0;
  const auto bin = static_cast<size_t>(std::min(bin_of(x), bins() - 1));  // the last has its end
  const auto first = values_.begin();
  return std::lower_bound(first + bin_begins_[bin], first + bin_begins_[bin + 1], x) - first;
}

// The middle between two codes is where it is looked for; the grid's own arithmetic decides about
// the values there, or, where many of them are equal, about the numbers.
int64_t SortedValues::first_with(float code, ScaleZeroPoint grid, int64_t begin,
                                 int64_t end) const {
  constexpr int64_t kMostSteps = 4;
  const auto reaches = [&](int64_t index) {
    return code_of(values_[static_cast<size_t>(index)], grid) >= code;
  };
  const double middle = (static_cast<double>(code) - grid.zero_point - 0.5) * grid.scale;
  const int64_t found = std::clamp(first_from(middle), begin, end);
  int64_t index = found;
  while (index > begin && index > found - kMostSteps && reaches(index - 1)) --index;
  while (index < end && index < found + kMostSteps && !reaches(index)) ++index;
  if (std::abs(index - found) < kMostSteps) return index;
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

ErrorsOfSteps::ErrorsOfSteps(const SortedValues& values, float scale, Levels levels)
    : values_(values), scale_(scale), reach_(levels.high - levels.low) {
  const ScaleZeroPoint grid{scale, 0};
  const auto size = static_cast<int64_t>(values.values_.size());
  int64_t begin = 0;
  for (float step = -reach_; step <= reach_ + 1; ++step) {
    const int64_t end = values.first_with(step, grid, begin, size);
    if (!first_.empty()) error_.push_back(values.error_of(begin, end, step - 1, grid));
    first_.push_back(end);
    begin = end;
  }
}

// In the order of SortedValues::mean_squared_error().
double ErrorsOfSteps::mean_squared_error(float zero_point, Levels levels) const {
  const ScaleZeroPoint grid{scale_, zero_point};
  const auto size = static_cast<int64_t>(values_.values_.size());
  const size_t low = place_of(levels.low - zero_point), high = place_of(levels.high - zero_point);
  double sum = values_.error_of(0, first_[low + 1], levels.low, grid) +
               values_.error_of(first_[high], size, levels.high, grid);
  for (size_t step = low + 1; step < high; ++step) sum += error_[step];
  return sum / static_cast<double>(size);
}

}  // namespace quell::kernels

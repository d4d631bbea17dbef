#include "framework/kernels/quantization_error.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

namespace quell::kernels {
namespace {

constexpr int kDigitBits = 11;
constexpr uint32_t kDigits = 1u << kDigitBits;
constexpr size_t kSmall = 2048;  // below it, clearing the counts costs more than comparing

// An integer with the order of the float.
uint32_t to_key(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}

float from_key(uint32_t key) {
  return std::bit_cast<float>(key ^ ((key >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}

// Radix sort, three digits from the lowest to the highest.
void sort_ascending(std::vector<float>& values) {
  if (values.size() < kSmall) {
    std::sort(values.begin(), values.end());
    return;
  }
  std::vector<uint32_t> keys(values.size()), sorted(values.size());
  std::array<std::vector<size_t>, 3> places;
  for (auto& digit : places) digit.assign(kDigits, 0);
  for (size_t i = 0; i < values.size(); ++i) {
    keys[i] = to_key(values[i]);
    for (int pass = 0; pass < 3; ++pass) {
      ++places[pass][(keys[i] >> (pass * kDigitBits)) & (kDigits - 1)];
    }
  }
  for (int pass = 0; pass < 3; ++pass) {
    size_t next = 0;
    for (size_t& place : places[pass]) next += std::exchange(place, next);
    for (const uint32_t key : keys) {
      sorted[places[pass][(key >> (pass * kDigitBits)) & (kDigits - 1)]++] = key;
    }
    keys.swap(sorted);
  }
  std::transform(keys.begin(), keys.end(), values.begin(), from_key);
}

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

#include "framework/kernels/sort.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>

namespace quell::kernels {
namespace {

// Short digits: their counts and the ends of their lists stay in the nearest cache.
constexpr int kDigitBits = 8;
constexpr uint32_t kDigits = 1u << kDigitBits;
constexpr int kPasses = 32 / kDigitBits;
constexpr size_t kFew = 96;  // below it, clearing the counts costs more than comparing

// An integer with the order of the float.
uint32_t to_key(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}

float from_key(uint32_t key) {
  return std::bit_cast<float>(key ^ ((key >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}

}  // namespace

void sort_ascending(std::vector<float>& values) {
  if (values.size() < kFew) {
    std::sort(values.begin(), values.end());
    return;
  }
  std::vector<uint32_t> keys(values.size()), sorted(values.size());
  std::array<std::array<size_t, kDigits>, kPasses> places = {};
  for (size_t i = 0; i < values.size(); ++i) {
    keys[i] = to_key(values[i]);
    for (int pass = 0; pass < kPasses; ++pass) {
      ++places[pass][(keys[i] >> (pass * kDigitBits)) & (kDigits - 1)];
    }
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    size_t next = 0;
    for (size_t& place : places[pass]) next += std::exchange(place, next);
    for (const uint32_t key : keys) {
      sorted[places[pass][(key >> (pass * kDigitBits)) & (kDigits - 1)]++] = key;
    }
    keys.swap(sorted);
  }
  std::transform(keys.begin(), keys.end(), values.begin(), from_key);
}

float quantile_of_sorted(const std::vector<float>& sorted, double share) {
  const size_t last = sorted.size() - 1;
  const float rank = static_cast<float>(share) * static_cast<float>(last);
  const float below = std::floor(rank);
  const float a = sorted[std::min(static_cast<size_t>(below), last)];
  const float b = sorted[std::min(static_cast<size_t>(std::ceil(rank)), last)];
  const float weight = rank - below;
  return weight < 0.5f ? a + weight * (b - a) : b - (b - a) * (1 - weight);
}

}  // namespace quell::kernels

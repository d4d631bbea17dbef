#include "framework/base/draw.h"

#include <limits>
#include <numeric>
#include <random>
#include <utility>

#include "framework/base/error.h"

namespace quell {
namespace {

// std::uniform_int_distribution differs between standard libraries.
uint64_t draw_below(uint64_t bound, std::mt19937_64& generator) {
  const uint64_t remainder = (std::numeric_limits<uint64_t>::max() % bound + 1) % bound;
  const uint64_t largest = std::numeric_limits<uint64_t>::max() - remainder;
  uint64_t value = generator();
  while (value > largest) value = generator();
  return value % bound;
}

}  // namespace

std::vector<int64_t> draw_without_replacement(int64_t available, int64_t samples, uint64_t seed) {
  QUELL_ASSERT(samples >= 0 && samples <= available, "cannot draw more than there is");
  std::vector<int64_t> numbers(available);
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  std::mt19937_64 generator(seed);
  for (int64_t i = 0; i < samples; ++i) {
    const auto left = static_cast<uint64_t>(available - i);
    std::swap(numbers[i], numbers[i + static_cast<int64_t>(draw_below(left, generator))]);
  }
  numbers.resize(samples);
  return numbers;
}

uint64_t derived_seed(uint64_t seed, uint64_t index) {
  uint64_t value = seed + (index + 1) * 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

}  // namespace quell

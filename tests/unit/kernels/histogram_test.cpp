#include "framework/kernels/histogram.h"

#include <cmath>
#include <limits>
#include <random>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The definition, one value at a time. That it is torch.histc's is checked in
// tests/unit/quant/histogram_test.cpp.
std::vector<int64_t> by_hand(const std::vector<float>& x, Bins bins, bool magnitudes) {
  std::vector<int64_t> counts(bins.count);
  for (float value : x) {
    if (magnitudes) value = std::fabs(value);
    if (!(value >= bins.low && value <= bins.high)) continue;
    const float product = (value - bins.low) * static_cast<float>(bins.count);
    const float place = product / (bins.high - bins.low);
    ++counts[place < static_cast<float>(bins.count) ? static_cast<int64_t>(place) : bins.count - 1];
  }
  return counts;
}

std::vector<float> values(int64_t size, std::mt19937& random) {
  std::normal_distribution<float> normal(0, 1.5f);
  std::vector<float> x(size);
  for (float& value : x) value = normal(random);
  for (size_t i = 0; i < x.size(); i += 41) x[i] = static_cast<float>(i % 17) / 8 - 1;  // edges
  const float special[] = {0.0f, -0.0f, 1e-45f, kNan, -kNan, kInfinity, -kInfinity, 3e38f, -3e38f};
  for (size_t i = 0; i < x.size() / 9; ++i) x[9 * i] = special[i % std::size(special)];
  return x;
}

TEST(Histogram, EveryInstructionSetCountsAsTheDefinition) {
  on_every_instruction_set([] {
    std::mt19937 random(8);
    for (const int64_t size : {0, 1, 3, 15, 16, 17, 1023, 1030, 70001}) {
      const std::vector<float> x = values(size, random);
      for (const Bins& bins :
           {Bins{-1, 1, 16}, Bins{0, 2.7f, 2048}, Bins{-0.3f, 5, 1}, Bins{-1e-39f, 1e-39f, 7},
            Bins{0, 3e38f, 2048}, Bins{-2, 2, 20000}}) {
        for (const bool magnitudes : {false, true}) {
          std::vector<int64_t> expected = by_hand(x, bins, magnitudes);
          for (int64_t& count : expected) count += 5;
          for (const ParallelFor parallel_for : {&serial_for, &two_threads}) {
            std::vector<int64_t> counts(bins.count, 5);
            const auto add = magnitudes ? add_magnitudes_to_histogram : add_to_histogram;
            add(x.data(), size, bins, counts.data(), parallel_for);
            EXPECT_EQ(counts, expected) << size << " values, " << bins.count << " bins";
          }
        }
      }
    }
  });
}

TEST(Histogram, EdgesBelongToTheUpperBinAndTheLastOneToTheLast) {
  const std::vector<float> x = {
      0,       0.25f, 0.5f,     0.75f, 1, std::nextafter(1.0f, 2.0f), std::nextafter(0.5f, 0.0f),
      -1e-45f, kNan,  kInfinity};
  std::vector<int64_t> counts(4);
  add_to_histogram(x.data(), static_cast<int64_t>(x.size()), {0, 1, 4}, counts.data());
  EXPECT_EQ(counts, (std::vector<int64_t>{1, 2, 1, 2}));
}

}  // namespace
}  // namespace quell::kernels

#include "framework/kernels/min_max.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  int64_t outer, channels, inner;
};

TEST(MinMax, EveryShapeOnEveryInstructionSet) {
  on_every_instruction_set([] {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    for (const Shape& shape : std::vector<Shape>{{1, 1, 1},
                                                 {1, 1, 70},
                                                 {37, 1, 3},
                                                 {19, 67, 1},
                                                 {3, 5, 7},
                                                 {1, 12, 1000},
                                                 {300, 770, 1},
                                                 {8, 1, 1},
                                                 {1, 1, 300000}}) {
      std::vector<float> x(shape.outer * shape.channels * shape.inner);
      for (float& value : x) value = normal(random);
      std::vector<float> low(shape.channels, kInfinity), high(shape.channels, -kInfinity);
      for (size_t i = 0; i < x.size(); ++i) {
        const size_t channel = i / shape.inner % shape.channels;
        low[channel] = std::min(low[channel], x[i]);
        high[channel] = std::max(high[channel], x[i]);
      }
      for (const ParallelFor parallel_for : {&serial_for, &two_threads}) {
        std::vector<float> min(shape.channels), max(shape.channels);
        min_max_channels(x.data(), shape.outer, shape.channels, shape.inner, min.data(), max.data(),
                         parallel_for);
        EXPECT_EQ(min, low);
        EXPECT_EQ(max, high);
        const MinMax all = min_max_tensor(x.data(), static_cast<int64_t>(x.size()), parallel_for);
        EXPECT_EQ(all.min, *std::min_element(x.begin(), x.end()));
        EXPECT_EQ(all.max, *std::max_element(x.begin(), x.end()));
      }
    }
  });
}

TEST(MinMax, ANanAnywhereIsReported) {
  on_every_instruction_set([] {
    for (size_t at = 0; at < 150; ++at) {
      std::vector<float> x(150, 1.0f);
      x[at] = kNan;
      const MinMax range = min_max_tensor(x.data(), 150);
      EXPECT_TRUE(std::isnan(range.min) && std::isnan(range.max)) << at;
      for (const Shape& shape : {Shape{10, 15, 1}, Shape{5, 30, 1}, Shape{2, 25, 3}}) {
        std::vector<float> min(shape.channels), max(shape.channels);
        min_max_channels(x.data(), shape.outer, shape.channels, shape.inner, min.data(),
                         max.data());
        for (int64_t c = 0; c < shape.channels; ++c) {
          const bool here = static_cast<int64_t>(at) / shape.inner % shape.channels == c;
          EXPECT_EQ(std::isnan(min[c]), here) << at << " in channel " << c;
          EXPECT_EQ(std::isnan(max[c]), here) << at << " in channel " << c;
        }
      }
    }
  });
}

TEST(MinMax, ZeroHasNoSignAndInfinityIsABound) {
  on_every_instruction_set([] {
    std::vector<float> x(100, -0.0f);
    const MinMax zero = min_max_tensor(x.data(), 100);
    EXPECT_FALSE(std::signbit(zero.min));
    EXPECT_FALSE(std::signbit(zero.max));
    x[40] = kInfinity;
    x[41] = -kInfinity;
    const MinMax wide = min_max_tensor(x.data(), 100);
    EXPECT_EQ(wide.min, -kInfinity);
    EXPECT_EQ(wide.max, kInfinity);
  });
}

TEST(MinMax, NothingHasAnEmptyRange) {
  const MinMax range = min_max_tensor(nullptr, 0);
  EXPECT_EQ(range.min, kInfinity);
  EXPECT_EQ(range.max, -kInfinity);
  std::vector<float> min(3), max(3);
  min_max_channels(nullptr, 0, 3, 1, min.data(), max.data());
  EXPECT_EQ(min, std::vector<float>(3, kInfinity));
  EXPECT_EQ(max, std::vector<float>(3, -kInfinity));
}

}  // namespace
}  // namespace quell::kernels

#include "framework/kernels/token_extremes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "framework/kernels/sort.h"
#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> normal_values(int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(count);
  for (float& value : x) value = normal(random);
  return x;
}

TEST(MinMaxTokens, OneRangePerValidToken) {
  on_every_instruction_set([] {
    std::mt19937 random(3);
    const int64_t length = 37;
    const std::vector<int64_t> lengths = {5, 37, 0, 0, 1, 20};
    const auto sequences = static_cast<int64_t>(lengths.size());
    for (const int64_t features : {1, 7, 64, 771, 5000}) {
      std::vector<float> x = normal_values(sequences * length * features, random), low, high;
      x[(length + 3) * features] = kNan;
      for (int64_t s = 0; s < sequences; ++s) {
        for (int64_t t = 0; t < length; ++t) {
          float* token = x.data() + (s * length + t) * features;
          if (t >= lengths[s]) {
            std::fill_n(token, features, 1e9f);  // padding must not show
            continue;
          }
          const bool nan = std::isnan(token[0]);
          low.push_back(nan ? kNan : *std::min_element(token, token + features));
          high.push_back(nan ? kNan : *std::max_element(token, token + features));
        }
      }
      for (const ParallelFor parallel_for : {&serial_for, &two_threads}) {
        std::vector<float> min(low.size()), max(low.size());
        min_max_tokens(x.data(), sequences, length, features, lengths.data(), min.data(),
                       max.data(), parallel_for);
        EXPECT_EQ(first_difference(min, low), -1) << features;
        EXPECT_EQ(first_difference(max, high), -1) << features;
      }
    }
  });
}

TEST(MinMaxTokens, WithoutLengthsEveryTokenCounts) {
  std::mt19937 random(4);
  const std::vector<float> x = normal_values(3 * 4 * 5, random);
  std::vector<float> min(12), max(12), low(12), high(12);
  min_max_tokens(x.data(), 3, 4, 5, nullptr, min.data(), max.data());
  min_max_channels(x.data(), 1, 12, 5, low.data(), high.data());
  EXPECT_EQ(min, low);
  EXPECT_EQ(max, high);
  min_max_tokens(nullptr, 0, 4, 5, nullptr, nullptr, nullptr);
}

TEST(Sort, AscendingWhateverTheCount) {
  std::mt19937 random(5);
  for (const int64_t count : {0, 1, 2, 100, 2047, 2048, 50000}) {
    std::vector<float> x = normal_values(count, random);
    for (size_t i = 0; i + 3 < x.size(); i += 50) {
      x[i] = std::numeric_limits<float>::infinity();
      x[i + 1] = -1e-45f;
      x[i + 2] = -std::numeric_limits<float>::infinity();
    }
    std::vector<float> sorted = x;
    sort_ascending(sorted);
    std::sort(x.begin(), x.end());
    EXPECT_EQ(sorted, x);
  }
}

// By hand, as torch.quantile documents its linear interpolation.
TEST(Sort, QuantileLiesBetweenNeighbours) {
  const std::vector<float> sorted = {1, 2, 4, 8};
  EXPECT_EQ(quantile_of_sorted(sorted, 0), 1);
  EXPECT_EQ(quantile_of_sorted(sorted, 1), 8);
  EXPECT_EQ(quantile_of_sorted(sorted, 0.5), 3);
  EXPECT_EQ(quantile_of_sorted(sorted, 0.25), 1.75f);
  EXPECT_EQ(quantile_of_sorted({5}, 0.3), 5);
}

// The published steps: clip every value, then look for the extremes.
MinMax clipped_by_hand(const std::vector<float>& x, int64_t features, double ratio) {
  std::vector<float> ends[2], magnitudes[2];
  for (size_t i = 0; i < x.size(); i += features) {
    const auto [low, high] = std::minmax_element(x.begin() + i, x.begin() + i + features);
    ends[0].push_back(-*low);
    ends[1].push_back(*high);
  }
  float bound[2];
  for (int side : {0, 1}) {
    for (const float end : ends[side]) magnitudes[side].push_back(std::fabs(end));
    std::sort(magnitudes[side].begin(), magnitudes[side].end());
    const float limit = quantile_of_sorted(magnitudes[side], ratio);
    bound[side] = -std::numeric_limits<float>::infinity();
    for (const float end : ends[side]) {
      if (end <= limit) bound[side] = std::max(bound[side], end);
    }
  }
  MinMax range;
  for (const float value : x) {
    const float clipped = std::min(std::max(value, -bound[0]), bound[1]);
    merge({clipped, clipped}, range);
  }
  return canonical(range);
}

TEST(TokenExtremes, TheRangeOfTheClippedValues) {
  std::mt19937 random(6);
  for (const int64_t tokens : {1, 2, 3, 50, 3000}) {
    for (const float shift : {0.0f, 3.0f, -3.0f}) {  // ends of both signs, and of one
      const int64_t features = 5;
      std::vector<float> x = normal_values(tokens * features, random);
      for (float& value : x) value += shift;
      for (size_t i = 0; i < x.size(); i += 33) x[i] *= 20;
      std::vector<float> min(tokens), max(tokens);
      min_max_tokens(x.data(), 1, tokens, features, nullptr, min.data(), max.data());
      const TokenExtremes extremes(min, max);
      for (const double ratio : {1e-6, 0.01, 0.3, 0.5, 0.9, 0.97, 0.99, 1.0}) {
        const MinMax found = extremes.clipped(ratio);
        const MinMax expected = clipped_by_hand(x, features, ratio);
        EXPECT_TRUE(same_bits(found.min, expected.min)) << tokens << " " << shift << " " << ratio;
        EXPECT_TRUE(same_bits(found.max, expected.max)) << tokens << " " << shift << " " << ratio;
      }
    }
  }
}

TEST(TokenExtremes, ANanMakesEveryRangeNan) {
  const MinMax found = TokenExtremes({-1, kNan, -2}, {1, kNan, 2}).clipped(0.5);
  EXPECT_TRUE(std::isnan(found.min) && std::isnan(found.max));
}

}  // namespace
}  // namespace quell::kernels

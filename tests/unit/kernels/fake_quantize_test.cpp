#include "framework/kernels/fake_quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "framework/kernels/min_max.h"
#include "tests/unit/kernels/hard_inputs.h"
#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The published eager sequence, one pass over memory per operation.
std::vector<float> eager(std::vector<float> v, const std::vector<float>& scale,
                         const std::vector<float>& zero_point, Levels levels) {
  const auto at = [](const std::vector<float>& values, size_t i) {
    return values[values.size() == 1 ? 0 : i];
  };
  for (size_t i = 0; i < v.size(); ++i) v[i] = v[i] / at(scale, i);
  for (size_t i = 0; i < v.size(); ++i) v[i] = std::nearbyint(v[i]);
  for (size_t i = 0; i < v.size(); ++i) v[i] = v[i] + at(zero_point, i);
  for (float& value : v) value = value < levels.low ? levels.low : value;
  for (float& value : v) value = value > levels.high ? levels.high : value;
  for (size_t i = 0; i < v.size(); ++i) v[i] = v[i] - at(zero_point, i);
  for (size_t i = 0; i < v.size(); ++i) v[i] = v[i] * at(scale, i);
  return v;
}

TEST(FakeQuantize, EveryInstructionSetGivesTheBitsOfTheEagerSequence) {
  on_every_instruction_set([] {
    std::mt19937 random(7);
    for (int bits : {2, 3, 4, 5, 6, 7, 8, 16}) {
      for (const bool symmetric : {false, true}) {
        const Levels codes = levels(Grid::kOs, bits, symmetric);
        for (const float scale : kAwkwardScales) {
          const std::vector<float> x = hard_inputs(scale, random);
          const float middle = std::floor((codes.low + codes.high) / 2);
          for (const float zero_point : {0.0f, codes.low, middle, codes.high, 1.0f, 0.5f}) {
            const std::vector<float> expected = eager(x, {scale}, {zero_point}, codes);
            std::vector<float> y(x.size(), -7.0f);
            fake_quantize_tensor(x.data(), y.data(), static_cast<int64_t>(x.size()), scale,
                                 zero_point, codes);
            const int64_t at = first_difference(y, expected);
            ASSERT_EQ(at, -1) << "bits " << bits << " scale " << scale << " zero point "
                              << zero_point << ": x " << x[at] << " gives " << y[at] << ", not "
                              << expected[at];
          }
        }
      }
    }
  });
}

TEST(FakeQuantize, EverySizeInPlaceAndNothingBeyondTheEnd) {
  on_every_instruction_set([] {
    std::mt19937 random(3);
    const float scale = 0.3f;
    const std::vector<float> pool = hard_inputs(scale, random);
    for (int64_t size = 0; size <= 70; ++size) {
      std::vector<float> x(pool.begin() + size, pool.begin() + 2 * size);
      const std::vector<float> expected = eager(x, {scale}, {3.0f}, {0.0f, 15.0f});
      x.push_back(1.25f);
      fake_quantize_tensor(x.data(), x.data(), size, scale, 3.0f, {0.0f, 15.0f});
      EXPECT_EQ(x.back(), 1.25f) << "size " << size;
      x.pop_back();
      EXPECT_EQ(first_difference(x, expected), -1) << "size " << size;
    }
  });
}

TEST(FakeQuantize, ChannelsAndThreads) {
  on_every_instruction_set([] {
    std::mt19937 random(11);
    for (const Shape& shape : kShapes) {
      const int64_t size = shape.outer * shape.channels * shape.inner;
      const auto [scale, zero_point, x, scales, zero_points] = channel_case(shape, random);
      const std::vector<float> expected = eager(x, scales, zero_points, {0.0f, 63.0f});
      for (const ParallelFor parallel_for : {&serial_for, &two_threads}) {
        std::vector<float> y(size);
        fake_quantize_channels(x.data(), y.data(), shape.outer, shape.channels, shape.inner,
                               scale.data(), zero_point.data(), {0.0f, 63.0f}, parallel_for);
        EXPECT_EQ(first_difference(y, expected), -1)
            << shape.outer << " x " << shape.channels << " x " << shape.inner;
        fake_quantize_tensor(x.data(), y.data(), size, 0.37f, 5.0f, {0.0f, 63.0f}, parallel_for);
        EXPECT_EQ(first_difference(y, eager(x, {0.37f}, {5.0f}, {0.0f, 63.0f})), -1);
      }
    }
  });
}

TEST(FakeQuantize, RowsAndGroupsQuantizeByTheirOwnRange) {
  on_every_instruction_set([] {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    const int64_t rows = 90, features = 96;
    std::vector<float> x(rows * features);
    for (float& value : x) value = normal(random);
    x[5 * features + 17] = 80.0f;
    std::fill_n(x.begin() + 7 * features, features, 0.0f);
    for (const Grid grid : {Grid::kOs, Grid::kOsPlus, Grid::kQualcomm}) {
      for (const bool symmetric : {false, true}) {
        const AffineRule rule = affine_rule(grid, 4, symmetric);
        for (const int64_t group : {features, int64_t{12}, int64_t{1}}) {
          const int64_t groups = rows * features / group;
          std::vector<float> expected(x.size()), scale(groups), zero_point(groups);
          for (int64_t g = 0; g < groups; ++g) {
            const MinMax range = min_max_tensor(x.data() + g * group, group);
            const ScaleZeroPoint qparams = scale_zero_point(rule, range.min, range.max);
            scale[g] = qparams.scale;
            zero_point[g] = qparams.zero_point;
          }
          fake_quantize_channels(x.data(), expected.data(), 1, groups, group, scale.data(),
                                 zero_point.data(), rule.levels);
          for (const ParallelFor parallel_for : {&serial_for, &two_threads}) {
            std::vector<float> y(x.size()), own_scale(groups), own_zero_point(groups);
            fake_quantize_groups_dynamic(x.data(), y.data(), rows, features, group, rule,
                                         own_scale.data(), own_zero_point.data(), parallel_for);
            EXPECT_EQ(first_difference(y, expected), -1);
            EXPECT_EQ(first_difference(own_scale, scale), -1);
            EXPECT_EQ(first_difference(own_zero_point, zero_point), -1);
          }
        }
      }
    }
  });
}

TEST(FakeQuantize, StaticGroupsOfFeatures) {
  std::mt19937 random(13);
  const int64_t rows = 21, features = 60, group = 12;
  const ChannelCase made = channel_case({rows, features / group, group}, random);
  std::vector<float> y(made.x.size());
  fake_quantize_groups(made.x.data(), y.data(), rows, features, group, made.scale.data(),
                       made.zero_point.data(), {0.0f, 63.0f});
  EXPECT_EQ(first_difference(y, eager(made.x, made.scales, made.zero_points, {0.0f, 63.0f})), -1);
}

// From 64 MB on, results are streamed past the caches; those in place never are.
TEST(FakeQuantize, LargeResultsAreTheSame) {
  std::mt19937 random(29);
  std::uniform_real_distribution<float> uniform(-9, 9);
  std::vector<float> pattern(1009);
  for (float& value : pattern) value = uniform(random);
  const int64_t rows = 4097, columns = 4097, size = rows * columns;
  ASSERT_GE(size * sizeof(float), 64 << 20);
  std::vector<float> x(size), y(size + 1);
  for (int64_t i = 0; i < size; ++i) x[i] = pattern[i % 1009];
  const std::vector<float> scale(columns, 0.41f), zero_point(columns, 5.0f);
  const AffineRule rule = affine_rule(Grid::kOs, 4, false);
  using Run = std::function<void(const float* from, float* to)>;
  const std::vector<Run> runs = {
      [&](const float* from, float* to) {
        fake_quantize_tensor(from, to, size, 0.37f, 5, {0, 15}, two_threads);
      },
      [&](const float* from, float* to) {
        fake_quantize_channels(from, to, rows, columns, 1, scale.data(), zero_point.data(), {0, 15},
                               two_threads);
      },
      [&](const float* from, float* to) {
        fake_quantize_rows_dynamic(from, to, rows, columns, rule, nullptr, nullptr, two_threads);
      }};
  std::vector<std::vector<float>> in_place(runs.size(), x);
  for (size_t i = 0; i < runs.size(); ++i) runs[i](in_place[i].data(), in_place[i].data());
  on_every_instruction_set([&] {
    for (size_t i = 0; i < runs.size(); ++i) {  // each overwrites what another one gave
      runs[i](x.data(), y.data() + 1);          // one value off the start of a cache line
      EXPECT_TRUE(std::equal(in_place[i].begin(), in_place[i].end(), y.begin() + 1));
      EXPECT_EQ(y[0], 0.0f);
    }
  });
}

TEST(FakeQuantize, NanStaysInItsRow) {
  std::vector<float> x(40, 0.5f);
  x[11] = kNan;
  std::vector<float> y(40);
  fake_quantize_rows_dynamic(x.data(), y.data(), 4, 10, affine_rule(Grid::kOs, 8, false));
  for (int i = 0; i < 40; ++i) EXPECT_EQ(std::isnan(y[i]), i / 10 == 1) << i;
}

}  // namespace
}  // namespace quell::kernels

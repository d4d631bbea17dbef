// Ranges and fake quantization of tensors against loops over single values. The arithmetic of one
// value is tested in unit/kernels against the published codes.
#include "framework/quant/spec.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <cmath>
#include <functional>
#include <random>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

at::Tensor random_rows(int64_t rows, int64_t features) {
  at::Tensor tensor = at::empty({rows, features}, at::kFloat);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  float* data = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    data[i] = normal(random) * (i % features == 2 ? 12.0f : 1.0f);
  }
  return tensor;
}

// Eight features in three groups of two sizes, which are no neighbours.
const std::vector<int64_t> kGroupOf = {0, 2, 1, 0, 1, 2, 0, 2};

// The scale that element (row, feature) belongs to.
int64_t channel_of(const QuantSpec& spec, int64_t row, int64_t feature, int64_t features) {
  switch (spec.granularity) {
    case Granularity::kTensor:
      return 0;
    case Granularity::kChannel:
      return spec.axis == 0 ? row : feature;
    case Granularity::kToken:
      return row;
    case Granularity::kGroup:
      return (row * features + feature) / spec.group_size;
    case Granularity::kFeatureGroups:
      return spec.feature_groups == nullptr ? feature * spec.groups / features : kGroupOf[feature];
  }
  return -1;
}

int64_t channels_of(const QuantSpec& spec, const at::Tensor& rows) {
  return 1 + channel_of(spec, rows.size(0) - 1, rows.size(1) - 1, rows.size(1));
}

struct Reference {
  std::vector<float> min, max;
};

Reference reference_range(const at::Tensor& rows, const QuantSpec& spec) {
  const auto channels = static_cast<size_t>(channels_of(spec, rows));
  Reference range{std::vector<float>(channels, INFINITY), std::vector<float>(channels, -INFINITY)};
  for (int64_t row = 0; row < rows.size(0); ++row) {
    for (int64_t feature = 0; feature < rows.size(1); ++feature) {
      const int64_t channel = channel_of(spec, row, feature, rows.size(1));
      const float value = rows[row][feature].item<float>();
      range.min[channel] = std::min(range.min[channel], value);
      range.max[channel] = std::max(range.max[channel], value);
    }
  }
  return range;
}

// The textbook formula for the asymmetric grid of Outlier Suppression.
float reference_quantize(float value, float min, float max, int bits) {
  const float steps = std::exp2(static_cast<float>(bits)) - 1;
  const float low = std::min(min, 0.0f), high = std::max(max, 0.0f);
  const float scale = std::max((high - low) / steps, 1e-8f);
  const float zero = std::min(std::max(-std::nearbyint(low / scale), 0.0f), steps);
  const float code = std::min(std::max(std::nearbyint(value / scale) + zero, 0.0f), steps);
  return (code - zero) * scale;
}

std::vector<QuantSpec> static_specs() {
  QuantSpec tensor, rows, columns, groups, neighbours, scattered;
  rows.granularity = columns.granularity = Granularity::kChannel;
  rows.axis = 0;
  columns.axis = 1;
  groups.granularity = Granularity::kGroup;
  groups.group_size = 4;
  groups.is_weight = true;
  neighbours.granularity = scattered.granularity = Granularity::kFeatureGroups;
  neighbours.groups = 4;
  scattered.groups = 3;
  scattered.feature_groups = std::make_shared<FeatureGroups>(kGroupOf, 3);
  return {tensor, rows, columns, groups, neighbours, scattered};
}

TEST(QuantSpec, RangesOfEveryGranularity) {
  const at::Tensor rows = random_rows(9, 8);
  for (const QuantSpec& spec : static_specs()) {
    const Range range = min_max(rows, spec);
    const Reference expected = reference_range(rows, spec);
    ASSERT_EQ(range.min.numel(), static_cast<int64_t>(expected.min.size()));
    for (size_t i = 0; i < expected.min.size(); ++i) {
      EXPECT_EQ(range.min.const_data_ptr<float>()[i], expected.min[i]);
      EXPECT_EQ(range.max.const_data_ptr<float>()[i], expected.max[i]);
    }
  }
}

TEST(QuantSpec, FakeQuantizationOfEveryElement) {
  const at::Tensor rows = random_rows(9, 8);
  for (QuantSpec spec : static_specs()) {
    for (const int bits : {2, 5, 8}) {
      spec.bits = bits;
      const Reference range = reference_range(rows, spec);
      const at::Tensor found =
          fake_quantize(rows, parameters_from_range(min_max(rows, spec), spec), spec, false);
      for (int64_t row = 0; row < rows.size(0); ++row) {
        for (int64_t feature = 0; feature < rows.size(1); ++feature) {
          const int64_t channel = channel_of(spec, row, feature, rows.size(1));
          EXPECT_EQ(found[row][feature].item<float>(),
                    reference_quantize(rows[row][feature].item<float>(), range.min[channel],
                                       range.max[channel], bits))
              << "row " << row << " feature " << feature << " bits " << bits;
        }
      }
    }
  }
}

TEST(QuantSpec, DynamicRangesFollowEachTokenOrGroup) {
  const at::Tensor rows = random_rows(7, 8);
  for (const Granularity granularity : {Granularity::kToken, Granularity::kGroup}) {
    QuantSpec spec;
    spec.granularity = granularity;
    spec.group_size = 4;
    spec.bits = 6;
    ASSERT_TRUE(spec.is_dynamic());
    const Reference range = reference_range(rows, spec);
    const at::Tensor found = fake_quantize_dynamic(rows, spec, false);
    for (int64_t row = 0; row < rows.size(0); ++row) {
      for (int64_t feature = 0; feature < rows.size(1); ++feature) {
        const int64_t channel = channel_of(spec, row, feature, rows.size(1));
        EXPECT_EQ(found[row][feature].item<float>(),
                  reference_quantize(rows[row][feature].item<float>(), range.min[channel],
                                     range.max[channel], 6));
      }
    }
  }
}

TEST(QuantSpec, OnlyActivationsAreDynamic) {
  QuantSpec spec;
  spec.granularity = Granularity::kGroup;
  EXPECT_TRUE(spec.is_dynamic());
  spec.is_weight = true;
  EXPECT_FALSE(spec.is_dynamic());
  spec.is_weight = false;
  spec.granularity = Granularity::kChannel;
  EXPECT_FALSE(spec.is_dynamic());
}

TEST(QuantSpec, AVectorIsOneColumn) {
  const at::Tensor vector = random_rows(6, 1).view({6});
  QuantSpec spec;
  spec.is_weight = true;
  spec.granularity = Granularity::kChannel;
  spec.axis = 0;
  EXPECT_EQ(min_max(vector, spec).min.numel(), 6);
  spec.axis = 1;
  EXPECT_THAT(message_of<ConfigError>([&] { min_max(vector, spec); }), HasSubstr("axis 1"));
}

TEST(QuantSpec, TransposedRowsAreReadInTheirOrder) {
  const at::Tensor rows = random_rows(8, 5);
  QuantSpec spec;
  spec.granularity = Granularity::kChannel;
  spec.axis = 1;
  const Range transposed = min_max(rows.t(), spec);
  spec.axis = 0;
  EXPECT_TRUE(transposed.min.equal(min_max(rows, spec).min));
}

TEST(QuantSpec, GroupsMustDivideTheFeatures) {
  QuantSpec spec;
  spec.granularity = Granularity::kGroup;
  spec.group_size = 3;
  const auto message =
      message_of<ConfigError>([&] { fake_quantize_dynamic(random_rows(2, 8), spec, false); });
  EXPECT_THAT(message, HasSubstr("group_size 3"));
  EXPECT_THAT(message, HasSubstr("8 features"));
  spec.is_weight = true;
  EXPECT_THAT(message_of<ConfigError>([&] { min_max(random_rows(2, 8), spec); }),
              HasSubstr("group_size 3"));
}

// The published grid drops its negative codes only when no channel needs them.
TEST(QuantSpec, SignedQualcommLevelsFollowAllChannelsTogether) {
  QuantSpec spec;
  spec.granularity = Granularity::kChannel;
  spec.axis = 0;
  spec.symmetric = true;
  spec.grid = kernels::Grid::kQualcomm;
  at::Tensor rows = at::full({2, 4}, 3.0f);
  EXPECT_EQ(parameters_from_range(min_max(rows, spec), spec).levels.low, 0);
  rows[1][2] = -1.0f;
  const QuantParameters parameters = parameters_from_range(min_max(rows, spec), spec);
  EXPECT_EQ(parameters.levels.low, -128);
  EXPECT_EQ(parameters.scale[0].item<float>(), 3.0f / 127);
}

TEST(QuantSpec, ANaNShowsInTheRange) {
  at::Tensor rows = random_rows(4, 8);
  rows[2][1] = NAN;
  for (QuantSpec spec : static_specs()) {
    const Range range = min_max(rows, spec);
    EXPECT_TRUE(range.min.isnan().any().item<bool>() || range.max.isnan().any().item<bool>());
  }
}

}  // namespace
}  // namespace quell

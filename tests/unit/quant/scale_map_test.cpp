// Which values share a scale, against loops over single values and by hand. That observers and
// quantizers follow it is a law (tests/conformance).
#include "framework/quant/scale_map.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <cmath>
#include <mutex>

#include "framework/base/error.h"
#include "framework/quant/codes.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<float> numbers(const at::Tensor& tensor) {
  const float* data = tensor.const_data_ptr<float>();
  return {data, data + tensor.numel()};
}

// Three groups of 5 features, of 1, 3 and 1.
QuantSpec scattered() {
  QuantSpec spec;
  spec.granularity = Granularity::kFeatureGroups;
  spec.groups = 3;
  spec.feature_groups = std::make_shared<FeatureGroups>(std::vector<int64_t>{1, 0, 1, 2, 1}, 3);
  return spec;
}

QuantSpec neighbours(int64_t groups) {
  QuantSpec spec;
  spec.granularity = Granularity::kFeatureGroups;
  spec.groups = groups;
  return spec;
}

// The values that visit() gets, by scale.
std::vector<std::vector<float>> visited(const at::Tensor& rows, const QuantSpec& spec) {
  const ScaleMap map = ScaleMap::make(spec, rows.sizes());
  std::vector<std::vector<float>> result(static_cast<size_t>(map.scales()));
  std::mutex mutex;
  map.for_each_scale(rows, [&](int64_t scale, std::vector<float> values) {
    const std::lock_guard lock(mutex);
    result[static_cast<size_t>(scale)] = std::move(values);
  });
  return result;
}

TEST(ScaleMap, ValuesOfAScaleInTheirOrder) {
  const at::Tensor rows = at::arange(10, at::kFloat).view({2, 5});
  EXPECT_THAT(visited(rows, scattered()),
              ElementsAre(ElementsAre(1, 6), ElementsAre(0, 2, 4, 5, 7, 9), ElementsAre(3, 8)));
  QuantSpec columns;
  columns.granularity = Granularity::kChannel;
  columns.axis = 1;
  EXPECT_THAT(visited(rows.t(), columns),
              ElementsAre(ElementsAre(0, 1, 2, 3, 4), ElementsAre(5, 6, 7, 8, 9)));
  EXPECT_THAT(visited(at::arange(8, at::kFloat).view({2, 4}), neighbours(2)),
              ElementsAre(ElementsAre(0, 1, 4, 5), ElementsAre(2, 3, 6, 7)));
}

TEST(ScaleMap, CountsValuesPerScale) {
  EXPECT_THAT(ScaleMap::make(scattered(), {7, 5}).values_per_scale(), ElementsAre(7, 21, 7));
  EXPECT_THAT(ScaleMap::make(neighbours(2), {7, 6}).values_per_scale(), ElementsAre(21));
  EXPECT_THAT(ScaleMap::make({}, {7, 5}).values_per_scale(), ElementsAre(35));
}

TEST(ScaleMap, FromFeaturesToScalesAndBack) {
  const ScaleMap map = ScaleMap::make(scattered(), {2, 5});
  ASSERT_EQ(map.scales(), 3);
  ASSERT_EQ(map.channels(), 5);
  EXPECT_THAT(numbers(map.expand(at::tensor({10.0f, 11.0f, 12.0f}))),
              ElementsAre(11, 10, 11, 12, 11));
  // Of every row by itself; a NaN stays where it was seen.
  const at::Tensor min = at::tensor({3.0f, 7.0f, -2.0f, 0.0f, 1.0f, 1.0f, 1.0f, 1.0f, NAN, 1.0f});
  const Range range = map.reduce({min.view({2, 5}), min.add(1).view({2, 5})});
  EXPECT_THAT(numbers(range.min.slice(0, 0, 1).contiguous()), ElementsAre(7, -2, 0));
  EXPECT_THAT(numbers(range.max.slice(0, 0, 1).contiguous()), ElementsAre(8, 4, 1));
  EXPECT_THAT(numbers(range.min.slice(0, 1, 2).contiguous()),
              ElementsAre(1, 1, testing::NanSensitiveFloatEq(NAN)));
  EXPECT_THAT(numbers(range.max.slice(0, 1, 2).contiguous()),
              ElementsAre(2, 2, testing::NanSensitiveFloatEq(NAN)));
}

TEST(ScaleMap, SitesShareAMap) {
  const QuantSpec one = scattered();
  QuantSpec other;
  other.granularity = one.granularity;
  other.groups = one.groups;
  other.feature_groups = one.feature_groups;
  EXPECT_EQ(granularity_text(one), granularity_text(other));
  EXPECT_EQ(other.feature_groups.use_count(), 2);
  EXPECT_NE(granularity_text(neighbours(3)), granularity_text(one));
}

TEST(ScaleMap, RefusesWhatDoesNotFit) {
  const auto message = [](const QuantSpec& spec, at::IntArrayRef shape) {
    return message_of<ConfigError>([&] { ScaleMap::make(spec, shape); });
  };
  EXPECT_THAT(message(neighbours(5), {2, 8}),
              AllOf(HasSubstr("groups 5"), HasSubstr("8 features"), HasSubstr("divisor")));
  EXPECT_THAT(message(scattered(), {2, 6}),
              AllOf(HasSubstr("of 5 features"), HasSubstr("the site has 6")));
  EXPECT_THAT(message_of<ConfigError>([] {
                FeatureGroups({0, 2}, 2);
              }),
              AllOf(HasSubstr("feature 1"), HasSubstr("group 2")));
  EXPECT_THAT(message_of<ConfigError>([] { FeatureGroups({0, -1}, 2); }), HasSubstr("group -1"));
  EXPECT_THAT(message_of<ConfigError>([] {
                FeatureGroups({0, 2, 0}, 3);
              }),
              HasSubstr("group 1 of 3 has no feature"));
}

// A calibration of another granularity: too many or too few parameters, but one is for everything.
TEST(ScaleMap, ParametersOfAnotherNumber) {
  EXPECT_EQ(ScaleMap::of_parameters(scattered(), {2, 5}, 3).scales(), 3);
  EXPECT_EQ(ScaleMap::of_parameters(scattered(), {2, 5}, 1).inner(), 10);
  EXPECT_THAT(message_of<DataError>([] {
                ScaleMap::of_parameters(scattered(), {2, 5}, 5);
              }),
              HasSubstr("5 scales for a site of 3 channels"));
  const at::Tensor rows = at::arange(10, at::kFloat).view({2, 5});
  const QuantParameters one{at::tensor({2.0f}), at::tensor({1.0f}), {0, 255}};
  EXPECT_TRUE(integer_codes(rows, one, scattered())
                  .codes.view({-1})
                  .equal(at::tensor({1, 1, 2, 3, 3, 3, 4, 5, 5, 5}, at::kByte)));
}

TEST(Granularity, SaysWhatItReadsAndLacks) {
  EXPECT_EQ(granularity_problem({}), "");
  EXPECT_EQ(granularity_problem(neighbours(2)), "");
  EXPECT_THAT(granularity_problem(neighbours(0)), HasSubstr("`groups`"));
  QuantSpec spec;
  spec.granularity = Granularity::kGroup;
  EXPECT_THAT(granularity_problem(spec), HasSubstr("`group_size`"));
  spec.group_size = 64;
  EXPECT_EQ(granularity_text(spec), "group 64");
  spec.granularity = Granularity::kChannel;
  EXPECT_EQ(granularity_text(spec), "channel 0");
  EXPECT_EQ(scale_axis(spec), "rows");
  EXPECT_FALSE(known_scales(spec));
  EXPECT_EQ(known_scales(neighbours(6)), 6);
}

}  // namespace
}  // namespace quell

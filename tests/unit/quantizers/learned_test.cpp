// Learning a grid: what the learned quantizers do besides what the published numbers show.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cmath>
#include <limits>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/quant/fake_quantize_autograd.h"
#include "framework/quant/learned_quantizer.h"
#include "framework/quant/scale_map.h"
#include "tests/support/equal_bits.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

struct Lsq final : LearnedQuantizer {
  explicit Lsq(const QuantSpec& spec, const Params& params = {})
      : LearnedQuantizer(params, spec, Learns::kScaleAndZeroPoint, "lsq_plus") {}
};

QuantSpec spec_of(Granularity granularity = Granularity::kTensor, int64_t axis = 1) {
  QuantSpec spec;
  spec.bits = 4;
  spec.granularity = granularity;
  spec.axis = axis;
  spec.group_size = 4;
  return spec;
}

at::Tensor rows_with_outliers(int64_t rows = 60, int64_t features = 24) {
  at::manual_seed(1);
  at::Tensor values = at::randn({rows, features});
  values.select(1, 3).mul_(9);
  return values;
}

// A range that cuts some values off.
Range narrow_range(const at::Tensor& rows, const QuantSpec& spec) {
  const Range range = min_max(rows, spec);
  return {range.min * 0.4, range.max * 0.4};
}

void require_gradients(Quantizer& quantizer) {
  for (const LearnableTensor& learnable : quantizer.learnable()) {
    learnable.tensor.requires_grad_(true);
  }
}

// The published sequence of operations, from the parameters' leaves to the output. The factor of
// gradients is a number or a tensor.
template <class Factor>
at::Tensor published(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& zero_point,
                     double low, double high, const Factor& factor) {
  const auto gradient_scaled = [&factor](const at::Tensor& t) {
    const at::Tensor part = t * factor;
    return (t - part).detach() + part;
  };
  const auto rounded = [](const at::Tensor& t) { return (t.round() - t).detach() + t; };
  const at::Tensor s = gradient_scaled(scale), z = gradient_scaled(rounded(zero_point));
  return (at::clamp(rounded(x / s) + z, low, high) - z) * s;
}

TEST(LearnedQuantizer, GradientFactorsOfThePublishedCode) {
  EXPECT_EQ(gradient_factor(16384, 15), static_cast<float>(0.002017178826149696));
  EXPECT_EQ(gradient_factor(12582912, 63), static_cast<float>(3.551723473893105e-05));
  EXPECT_EQ(gradient_factor(16384, 255), static_cast<float>(0.0004892377274102731));
}

TEST(LearnedQuantizer, EffectiveScalesArePublishedFloat32Arithmetic) {
  const at::Tensor scale = at::rand({100000}) * 0.3 + 1e-4;
  const at::Tensor zero_point = at::rand({100000}) * 63;
  const double factor = gradient_factor(16384, 63);
  const QuantParameters found =
      effective_parameters({scale, zero_point, {0, 63}}, {true, true}, 16384);
  const at::Tensor part = scale * factor;
  EXPECT_TRUE(equal_bits(found.scale, (scale - part) + part));
  // Some differ from the scale itself, by its last bit.
  const at::Tensor difference = (found.scale - scale).abs();
  const int64_t changed = at::count_nonzero(difference).item<int64_t>();
  EXPECT_LT(changed, 100);
  EXPECT_LT((difference / scale).max().item<double>(), 1.3e-7);
  EXPECT_TRUE(at::allclose(found.zero_point, zero_point.round(), 1.3e-7, 0));
}

// In float32 as published, and in float64: ours must not be farther from the latter.
TEST(LearnedQuantizer, SumsAreNoLessExactThanEagerOnes) {
  for (const auto granularity : {Granularity::kTensor, Granularity::kChannel}) {
    const QuantSpec spec = spec_of(granularity);
    const at::Tensor rows = rows_with_outliers(3000, 64), dy = at::randn_like(rows);
    Lsq quantizer(spec);
    quantizer.init(narrow_range(rows, spec));
    require_gradients(quantizer);
    quantizer.apply(rows, false).backward(dy);
    const int64_t scales = quantizer.parameters().scale.numel();
    const double factor = gradient_factor(rows.numel() / scales, 15);
    std::vector<std::vector<at::Tensor>> gradients;
    for (const auto type : {at::kDouble, at::kFloat}) {
      std::vector<at::Tensor> leaves;
      for (const LearnableTensor& learnable : quantizer.learnable()) {
        leaves.push_back(learnable.tensor.detach().to(type).clone().requires_grad_(true));
      }
      published(rows.to(type), leaves[0], leaves[1], 0, 15, factor).backward(dy.to(type));
      gradients.push_back({leaves[0].grad(), leaves[1].grad()});
    }
    for (size_t i = 0; i < 2; ++i) {
      const auto error = [&](const at::Tensor& found) {
        return (found.to(at::kDouble) - gradients[0][i]).norm().item<double>();
      };
      // A rounding of the result is what remains; a lucky eager sum may be as exact.
      const double rounding = 6e-8 * gradients[0][i].norm().item<double>();
      EXPECT_LE(error(quantizer.learnable()[i].tensor.grad()),
                error(gradients[1][i]) + 2 * rounding);
    }
  }
}

// Features in groups of several sizes, wherever they lie, against what LibTorch derives in float64
// where each feature takes the scale of its group.
TEST(LearnedQuantizer, GroupsOfFeaturesLearnTheirOwnScales) {
  QuantSpec spec = spec_of(Granularity::kFeatureGroups);
  std::vector<int64_t> group_of;
  for (int64_t feature = 0; feature < 24; ++feature) group_of.push_back(feature * feature % 7 % 3);
  spec.groups = 3;
  spec.feature_groups = std::make_shared<FeatureGroups>(group_of, 3);
  const at::Tensor rows = rows_with_outliers(), dy = at::randn_like(rows);
  Lsq quantizer(spec);
  quantizer.init(narrow_range(rows, spec));
  require_gradients(quantizer);
  const at::Tensor x = rows.clone().requires_grad_(true);
  const at::Tensor y = quantizer.apply(x, false);
  y.backward(dy);

  const at::Tensor groups = at::tensor(group_of);
  const at::Tensor per_group = at::bincount(groups) * rows.size(0);
  ASSERT_GT(per_group.max().item<int64_t>(), per_group.min().item<int64_t>());
  const at::Tensor factor = (per_group.to(at::kDouble) * 15).rsqrt().index({groups});
  std::vector<at::Tensor> leaves;
  for (const LearnableTensor& learnable : quantizer.learnable()) {
    leaves.push_back(learnable.tensor.detach().to(at::kDouble).requires_grad_(true));
  }
  const at::Tensor same_x = rows.to(at::kDouble).requires_grad_(true);
  const at::Tensor expected =
      published(same_x, leaves[0].index({groups}), leaves[1].index({groups}), 0, 15, factor);
  expected.backward(dy.to(at::kDouble));
  EXPECT_LT((y - expected).abs().max().item<double>(), 1e-5);
  EXPECT_LT((x.grad() - same_x.grad()).abs().max().item<double>(), 1e-6);
  for (size_t i = 0; i < 2; ++i) {
    const at::Tensor found = quantizer.learnable()[i].tensor.grad();
    EXPECT_TRUE(at::allclose(found.to(at::kDouble), leaves[i].grad(), 1e-5, 1e-6)) << i;
  }
}

// Live bytes that the calling thread allocated since it was made.
struct LiveBytes final : c10::MemoryReportingInfoBase {
  int64_t bytes = 0;
  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override {
    bytes += size;
  }
  bool memoryProfilingEnabled() const override { return true; }
};

TEST(LearnedQuantizer, KeepsNothingButItsInput) {
  const at::Tensor rows = rows_with_outliers(1000, 64).requires_grad_(true);
  for (const auto granularity : {Granularity::kTensor, Granularity::kChannel}) {
    Lsq quantizer(spec_of(granularity));
    quantizer.init(narrow_range(rows.detach(), spec_of(granularity)));
    require_gradients(quantizer);
    const auto live = std::make_shared<LiveBytes>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, live);
    const at::Tensor y = quantizer.apply(rows, false);
    ASSERT_TRUE(y.requires_grad());
    // The output, and two vectors of parameters.
    EXPECT_GE(live->bytes, y.nbytes());
    EXPECT_LE(live->bytes, y.nbytes() + 2 * 64 * (64 + sizeof(float)));
  }
}

TEST(LearnedQuantizer, OverwritesNothingWhileGradientsAreRecorded) {
  for (const bool requires_gradient : {true, false}) {
    const at::Tensor rows = rows_with_outliers(), before = rows.clone();
    Lsq quantizer(spec_of());
    quantizer.init(narrow_range(rows, spec_of()));
    const at::Tensor input = rows.detach().requires_grad_(requires_gradient);
    const at::Tensor y = quantizer.apply(input, /*in_place=*/true);
    EXPECT_TRUE(equal_bits(rows, before));
    EXPECT_EQ(y.requires_grad(), requires_gradient);
    const at::NoGradGuard no_gradients;
    EXPECT_TRUE(equal_bits(quantizer.apply(rows, /*in_place=*/true), y));
    EXPECT_TRUE(equal_bits(rows, y));
  }
}

// Only what requires a gradient gets one; strides do not matter.
TEST(LearnedQuantizer, GradientsOfPartsAndOfTransposedRows) {
  const QuantSpec spec = spec_of(Granularity::kChannel);
  const at::Tensor rows = rows_with_outliers(), dy = at::randn_like(rows);
  const auto run = [&](const at::Tensor& input, bool learn) {
    auto quantizer = std::make_unique<Lsq>(spec);
    quantizer->init(narrow_range(rows, spec));
    if (learn) require_gradients(*quantizer);
    quantizer->apply(input, false).backward(dy);
    return quantizer;
  };
  const at::Tensor all = rows.clone().requires_grad_(true);
  const auto everything = run(all, true);
  const auto only_parameters = run(rows, true);
  const at::Tensor transposed = rows.t().contiguous().t().requires_grad_(true);
  const auto only_rows = run(transposed, false);
  EXPECT_TRUE(equal_bits(all.grad(), transposed.grad()));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(equal_bits(everything->learnable()[i].tensor.grad(),
                           only_parameters->learnable()[i].tensor.grad()));
    EXPECT_FALSE(only_rows->learnable()[i].tensor.grad().defined());
  }
}

TEST(LearnedQuantizer, TheSameBitsWithOneAndTwoThreads) {
  const int threads = at::get_num_threads();
  for (const auto granularity : {Granularity::kTensor, Granularity::kChannel}) {
    const QuantSpec spec = spec_of(granularity);
    const at::Tensor rows = rows_with_outliers(2000, 100), dy = at::randn_like(rows);
    std::vector<std::vector<at::Tensor>> found;
    for (const int count : {1, 2}) {
      at::set_num_threads(count);
      const at::Tensor input = rows.clone().requires_grad_(true);
      Lsq quantizer(spec);
      quantizer.init(narrow_range(rows, spec));
      require_gradients(quantizer);
      quantizer.apply(input, false).backward(dy);
      const auto learnable = quantizer.learnable();
      found.push_back({input.grad(), learnable[0].tensor.grad(), learnable[1].tensor.grad()});
    }
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(equal_bits(found[0][i], found[1][i]));
  }
  at::set_num_threads(threads);
}

TEST(LearnedQuantizer, AnOptimizerKeepsItsHandles) {
  Lsq quantizer(spec_of());
  EXPECT_TRUE(quantizer.learnable().empty());
  quantizer.init({at::full({1}, -1.0f), at::full({1}, 2.0f)});
  const auto held = quantizer.learnable();
  require_gradients(quantizer);
  quantizer.init({at::full({1}, -3.0f), at::full({1}, 3.0f)});
  EXPECT_FLOAT_EQ(held[0].tensor.item<float>(), 6.0f / 15);
  {
    const at::NoGradGuard no_gradients;
    held[0].tensor.fill_(0.25f);
  }
  EXPECT_EQ(quantizer.parameters().scale.item<float>(), 0.25f);
  EXPECT_TRUE(quantizer.learnable()[0].tensor.is_leaf());
  EXPECT_TRUE(quantizer.learnable()[0].tensor.requires_grad());
}

TEST(LearnedQuantizer, ConstrainBringsParametersBack) {
  Lsq quantizer(spec_of(Granularity::kChannel));
  quantizer.set_parameters(
      {at::tensor({0.5f, 0.5f, 0.5f}), at::tensor({1.0f, 2.5f, 3.0f}), {0, 15}});
  {
    const at::NoGradGuard no_gradients;
    quantizer.learnable()[0].tensor.copy_(at::tensor({-0.25f, 1e-20f, 0.5f}));
    quantizer.learnable()[1].tensor.copy_(at::tensor({-3.0f, 4.5f, 70.0f}));
  }
  quantizer.constrain();
  const QuantParameters found = quantizer.parameters();
  const float smallest = std::numeric_limits<float>::epsilon();
  EXPECT_TRUE(equal_bits(found.scale, at::tensor({0.25f, smallest, 0.5f})));
  EXPECT_TRUE(equal_bits(found.zero_point, at::tensor({0.0f, 4.0f, 15.0f})));
}

// The logarithm's gradient is scale times dscale; steps multiply, and nothing but the scale has to
// be stored between them.
TEST(LearnedQuantizer, LogDomain) {
  const at::Tensor rows = rows_with_outliers(), dy = at::randn_like(rows);
  Lsq plain(spec_of()), logarithmic(spec_of(), {true, true});
  for (Lsq* quantizer : {&plain, &logarithmic}) {
    quantizer->init(narrow_range(rows, spec_of()));
    require_gradients(*quantizer);
  }
  const at::Tensor scale = plain.parameters().scale;
  EXPECT_TRUE(equal_bits(logarithmic.parameters().scale, scale));
  EXPECT_TRUE(equal_bits(plain.apply(rows, false), logarithmic.apply(rows, false)));
  for (Lsq* quantizer : {&plain, &logarithmic}) quantizer->apply(rows, false).backward(dy);
  const LearnableTensor learned = logarithmic.learnable()[0];
  EXPECT_EQ(learned.name, "log_scale");
  EXPECT_TRUE(
      at::allclose(learned.tensor.grad(), plain.learnable()[0].tensor.grad() * scale, 1e-6));
  {
    const at::NoGradGuard no_gradients;
    learned.tensor.sub_(0.5);
  }
  const at::Tensor stepped = logarithmic.parameters().scale;
  EXPECT_TRUE(at::allclose(stepped, scale * std::exp(-0.5), 1e-6));
  logarithmic.constrain();
  EXPECT_TRUE(equal_bits(logarithmic.parameters().scale, stepped));
  EXPECT_EQ(learned.tensor.item<float>(), 0);
  Lsq restored(spec_of(), {true, true});
  restored.set_parameters(logarithmic.parameters());
  EXPECT_TRUE(equal_bits(restored.apply(rows, false), logarithmic.apply(rows, false)));
}

// Against what LibTorch derives itself, on tensors that lie in memory as those of attention do.
TEST(LearnedQuantizer, PublishedGradientsHaveTheBitsOfAutograd) {
  at::set_num_threads(1);  // a sum on several threads rounds otherwise
  constexpr int64_t kSequences = 5, kLength = 12, kHeads = 4, kSize = 6;
  const at::Tensor rows = rows_with_outliers(kSequences * kLength, kHeads * kSize);
  const at::Tensor upstream = at::randn_like(rows);
  enum { kRows, kHeadRows, kTransposed };
  for (const int order : {kRows, kHeadRows, kTransposed}) {
    LearnedQuantizer::Params params;
    params.gradients = Gradients::kPublished;
    params.heads = order == kRows ? 0 : kHeads;
    params.length = kLength;
    params.transposed = order == kTransposed;
    Lsq quantizer(spec_of(), params);
    quantizer.init(narrow_range(rows, spec_of()));
    require_gradients(quantizer);
    const at::Tensor x = rows.clone().requires_grad_();
    quantizer.apply(x, false).backward(upstream);

    const auto as_published = [&](const at::Tensor& values) {
      if (order == kRows) return values;
      const at::Tensor heads = values.view({kSequences, kLength, kHeads, kSize});
      return order == kHeadRows ? heads.permute({0, 2, 1, 3}) : heads.permute({0, 2, 3, 1});
    };
    const QuantParameters parameters = quantizer.parameters();
    const at::Tensor same_x = rows.clone().requires_grad_();
    const at::Tensor scale = parameters.scale.requires_grad_();
    const at::Tensor zero_point = parameters.zero_point.requires_grad_();
    const double high = parameters.levels.high;
    published(as_published(same_x), scale, zero_point, parameters.levels.low, high,
              1 / std::sqrt(static_cast<double>(rows.numel()) * high))
        .backward(as_published(upstream).contiguous());   // it comes from a product of heads
    EXPECT_TRUE(x.grad().equal(same_x.grad())) << order;  // but for the sign of zeros
    EXPECT_TRUE(equal_bits(quantizer.learnable()[0].tensor.grad(), scale.grad())) << order;
    EXPECT_TRUE(equal_bits(quantizer.learnable()[1].tensor.grad(), zero_point.grad())) << order;
  }
}

TEST(LearnedQuantizer, PublishedGradientsNeedTheirShape) {
  LearnedQuantizer::Params params;
  params.gradients = Gradients::kPublished;
  EXPECT_THAT(message_of<ConfigError>([&] { Lsq(spec_of(Granularity::kChannel), params); }),
              HasSubstr("gradients: published is for granularity tensor, not channel"));
  params.heads = 5;
  EXPECT_THAT(message_of<ConfigError>([&] { Lsq(spec_of(), params); }),
              HasSubstr("heads: 5 needs length"));
  params.length = 10;
  Lsq quantizer(spec_of(), params);
  const at::Tensor rows = rows_with_outliers().requires_grad_();  // 24 features
  quantizer.init(narrow_range(rows.detach(), spec_of()));
  require_gradients(quantizer);
  EXPECT_THAT(message_of<ConfigError>([&] { quantizer.apply(rows, false).sum().backward(); }),
              HasSubstr("sequences of 10 tokens and 5 heads"));
}

TEST(LearnedQuantizer, RefusesWhatItCannotDo) {
  Plugins plugins;
  register_all_plugins(plugins);
  const LearnedQuantizer::Params params;
  for (const std::string name : {"lsq", "lsq_plus"}) {
    const auto& entry = plugins.quantizers.get(name);
    for (const auto granularity : {Granularity::kToken, Granularity::kGroup}) {
      const auto message =
          message_of<ConfigError>([&] { entry.create(&params, spec_of(granularity)); });
      EXPECT_THAT(message, HasSubstr("quantizer " + name));
      EXPECT_THAT(message, HasSubstr(granularity == Granularity::kToken ? "token" : "group"));
      EXPECT_THAT(message, HasSubstr("use granularity tensor or channel"));
    }
  }
  Lsq quantizer(spec_of(Granularity::kChannel));
  quantizer.init({at::full({7}, -1.0f), at::full({7}, 1.0f)});
  require_gradients(quantizer);
  EXPECT_THAT(message_of<DataError>([&] { quantizer.apply(rows_with_outliers(), false); }),
              HasSubstr("7 scales for a site of 24 channels"));
}

}  // namespace
}  // namespace quell

// Groups of features on hardware that knows one scale per tensor (Bondarenko et al., figure 4): the
// feed-forward block written with per-tensor operations alone, with products and tensors split into
// groups and permutations folded into weights, has the integer codes of grouped quantization.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <map>

#include "framework/io/safetensors.h"
#include "framework/quant/scale_map.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

constexpr int64_t kGroups = 4;
constexpr const char* kLayer = "encoder.1";

std::filesystem::path model() { return test_data() / "parity/qualcomm"; }

// One tensor with one scale.
struct PerTensor {
  float scale = 0, zero_point = 0;

  at::Tensor codes(const at::Tensor& x) const {
    return x.div(scale).round().add(zero_point).clamp(0, 255);
  }
  at::Tensor apply(const at::Tensor& x) const { return codes(x).sub(zero_point).mul(scale); }
};

class SplitGroups : public testing::Test {
 protected:
  SplitGroups()
      : network_(model(), fmt::format(R"({{include: placements/qualcomm.yaml, rules: [
          {{sites: ['weight:*', 'activation:*'], bits: 8}},
          {{sites: ['group:x', 'group:h', 'group:y'], granularity: feature_groups, groups: {}}}]}})",
                                      kGroups)) {
    std::vector<std::string> keys;
    for (int i = 0; i < 4; ++i) keys.push_back(fmt::format("cal4.{}.input_ids", i));
    const auto batches = read_batches(model() / "inputs.safetensors", keys);
    network_.solve("permute_groups", batches, "{shared: layer}");
    network_.calibrate(batches);
    network_.logits(read_batches(model() / "inputs.safetensors", {"eval.0.input_ids"})[0], true,
                    true, [&](SiteId id, const at::Tensor& before, const at::Tensor& after) {
                      seen_[id] = {before.clone(), after.clone()};
                    });
  }

  const SitePoint& point(const std::string& site) {
    return network_.point(fmt::format("activation:{}.{}", kLayer, site));
  }
  const at::Tensor& before(const std::string& site) {
    return seen_.at(network_.site(fmt::format("activation:{}.{}", kLayer, site))).first;
  }
  at::Tensor weight(const std::string& site) {
    const SiteId id = network_.site(fmt::format("weight:{}.{}", kLayer, site));
    return network_.points().quantized_weight(id, network_.model().weight(id));
  }
  at::Tensor bias(const std::string& name) {
    return SafetensorsFile(model() / "model.safetensors")
        .read(fmt::format("bert.encoder.layer.1.{}.dense.bias", name));
  }
  PerTensor group(const std::string& site, int64_t index) {
    const QuantParameters parameters = point(site).quantizer->parameters();
    return {parameters.scale[index].item<float>(), parameters.zero_point[index].item<float>()};
  }
  // The order of features that puts groups next to each other.
  at::Tensor permutation() {
    std::vector<int64_t> order;
    const FeatureGroups& groups = *point("ffn.output").spec.feature_groups;
    for (int64_t i = 0; i < groups.groups(); ++i) {
      order.insert(order.end(), groups.members(i).begin(), groups.members(i).end());
    }
    return at::tensor(order, at::kLong);
  }
  // Codes as one scale per group gives them, in the order of the network.
  at::Tensor grouped_codes(const std::string& site) {
    return point(site).quantizer->codes(before(site)).codes.to(at::kFloat);
  }

  QuantizedNetwork network_;
  std::map<SiteId, std::pair<at::Tensor, at::Tensor>> seen_;
  at::NoGradGuard no_gradients_;
};

// A sum over parts rounds otherwise than the sum over all, so a value within `kTie` of a rounding
// tie may fall to the other side; nothing else may differ.
constexpr double kTie = 1e-3;

int64_t expect_same_codes(const at::Tensor& found, const at::Tensor& expected,
                          const at::Tensor& steps) {
  const at::Tensor different = found.ne(expected);
  const at::Tensor to_tie = steps.sub(steps.floor()).sub(0.5).abs();
  EXPECT_FALSE(different.logical_and(to_tie.gt(kTie)).any().item<bool>());
  EXPECT_LE(found.sub(expected).abs().max().item<double>(), 1);
  return different.sum().item<int64_t>();
}

// Values in steps of their grid.
at::Tensor steps_of(const SitePoint& point, const at::Tensor& values) {
  return values.div(
      point.quantizer->parameters().scale.index_select(0, point.spec.feature_groups->group_of()));
}

TEST_F(SplitGroups, TheFeedForwardBlockHasTheSameCodes) {
  const at::Tensor order = permutation();
  const at::Tensor back = at::argsort(order);
  // The norm in front gives its features in the new order; here they are put into it.
  const auto x = before("attention.norm").index_select(1, order).chunk(kGroups, 1);
  // Columns of the first weight and rows of the second one, and its bias, in the new order: folded.
  const auto first = weight("ffn.intermediate").index_select(1, order).chunk(kGroups, 1);
  const auto second = weight("ffn.output").index_select(0, order).chunk(kGroups, 0);
  const auto second_bias = bias("output").index_select(0, order).chunk(kGroups, 0);

  std::vector<at::Tensor> x_codes, h_codes, y_codes;
  // K products, summed.
  at::Tensor hidden = bias("intermediate");
  for (int64_t i = 0; i < kGroups; ++i) {
    const PerTensor grid = group("attention.norm", i);
    x_codes.push_back(grid.codes(x[i]));
    hidden = at::linear(grid.apply(x[i]), first[i]).add(hidden);
  }
  const PerTensor gelu{point("ffn.gelu").quantizer->parameters().scale.item<float>(),
                       point("ffn.gelu").quantizer->parameters().zero_point.item<float>()};
  const at::Tensor activated = gelu.apply(at::gelu(hidden));
  // K products, concatenated; the residual sum group by group.
  for (int64_t i = 0; i < kGroups; ++i) {
    const at::Tensor h = at::linear(activated, second[i], second_bias[i]);
    const PerTensor grid = group("ffn.output", i);
    h_codes.push_back(grid.codes(h));
    const at::Tensor sum = grid.apply(h).add(group("attention.norm", i).apply(x[i]));
    y_codes.push_back(group("ffn.residual", i).codes(sum));
  }
  // In front of the next norm the features return to their order.
  const auto codes = [&](const std::vector<at::Tensor>& parts) {
    return at::cat(parts, 1).index_select(1, back);
  };
  EXPECT_TRUE(at::equal(codes(x_codes), grouped_codes("attention.norm")));
  int64_t flipped = 0;
  for (const auto& [site, parts] :
       {std::pair<const char*, const std::vector<at::Tensor>&>{"ffn.output", h_codes},
        {"ffn.residual", y_codes}}) {
    SCOPED_TRACE(site);
    flipped +=
        expect_same_codes(codes(parts), grouped_codes(site), steps_of(point(site), before(site)));
  }
  fmt::print("{} of {} codes on the other side of a tie\n", flipped,
             2 * before("ffn.output").numel());
  EXPECT_LE(flipped, before("ffn.output").numel() / 1000);
}

// The groups are no ordinary neighbours: without the permutation the codes are other ones.
TEST_F(SplitGroups, NeighboursHaveOtherCodes) {
  const auto h = before("ffn.output").chunk(kGroups, 1);
  std::vector<at::Tensor> codes;
  for (int64_t i = 0; i < kGroups; ++i) codes.push_back(group("ffn.output", i).codes(h[i]));
  EXPECT_FALSE(at::equal(at::cat(codes, 1), grouped_codes("ffn.output")));
}

}  // namespace
}  // namespace quell

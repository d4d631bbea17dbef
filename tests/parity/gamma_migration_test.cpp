// Gamma migration against the published code: the parameters it changes and the logits after it;
// and what it does where the published code has no guard.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "framework/io/safetensors.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

constexpr const char* kBert = "outlier_suppression";
constexpr const char* kRoberta = "outlier_suppression_roberta";
constexpr const char* kQuestions = "outlier_suppression_qa";

std::filesystem::path golden(const std::string& name, const std::string& model = kBert) {
  return test_data() / "parity" / model / name;
}

constexpr const char* kEverySite =
    "{rules: [{sites: ['weight:*', 'activation:*'], quantize: true, bits: 8}]}";

std::string migrate(QuantizedNetwork& network, const std::string& params = "") {
  return network.transform("gamma_migration", params);
}

std::vector<Batch> golden_batches(const std::string& model = kBert) {
  std::vector<std::string> keys;
  for (int i = 0; i < 5; ++i) keys.push_back(fmt::format("b{}.input_ids", i));
  return read_batches(golden("inputs.safetensors", model), keys);
}

at::Tensor float_logits(QuantizedNetwork& network, const std::string& model = kBert) {
  std::vector<at::Tensor> logits;
  for (const Batch& batch : golden_batches(model))
    logits.push_back(network.logits(batch, false, false));
  return at::stack(logits);
}

at::Tensor golden_logits(const std::string& name, const std::string& model = kBert) {
  return SafetensorsFile(golden("logits.safetensors", model)).read(name);
}

const std::string& name_of(QuantizedNetwork& network, const ScaleGroup& group) {
  return network.model().sites()[static_cast<size_t>(group.site)].name;
}

ScaleGroup& group(QuantizedNetwork& network, const std::string& name) {
  for (ScaleGroup& found : network.model().graph().groups) {
    if (found.norm != nullptr && name_of(network, found) == name) return found;
  }
  throw Error("no norm " + name);
}

// The migrated parameter under a name of the published code.
at::Tensor migrated(QuantizedNetwork& network, const std::string& name) {
  const std::string module = name.substr(0, name.rfind('.'));
  if (name.ends_with(".weight")) {
    return network.model().weight(network.site(module + ".weight_fake_quant"));
  }
  if (name.ends_with(".bias")) {
    const SiteId site = network.site(module + ".layernorm_post_act_fake_quantize");
    return group(network, network.model().sites()[site].name).norm->bias;
  }
  // "<model>.encoder.layer.<i>.[attention.]output.before_LayerNorm_residual.gamma"
  const std::string before = "encoder.layer.";
  const int layer = name[name.find(before) + before.size()] - '0';
  std::string norm = "embeddings.norm";
  if (name.find(".attention.") == std::string::npos) {
    norm = fmt::format("encoder.{}.attention.norm", layer);
  } else if (layer > 0) {
    norm = fmt::format("encoder.{}.ffn.norm", layer - 1);
  }
  return group(network, norm).shortcuts.at(0)->scale;
}

class GammaMigrationParameters : public testing::TestWithParam<const char*> {};
class GammaMigrationLogits : public testing::TestWithParam<const char*> {};

TEST_P(GammaMigrationParameters, OfThePublishedCode) {
  QuantizedNetwork network(golden("", GetParam()), kEverySite);
  migrate(network);
  const SafetensorsFile file(golden("gamma_migration.safetensors", GetParam()));
  ASSERT_EQ(file.names().size(), 24u);
  for (const std::string& name : file.names()) {
    const at::Tensor expected = file.read(name), found = migrated(network, name);
    // One division or product in float32.
    EXPECT_TRUE(at::allclose(found, expected, /*rtol=*/1e-6, /*atol=*/0)) << name;
  }
  for (const ScaleGroup& group : network.model().graph().groups) {
    if (group.norm == nullptr) continue;
    const std::string& name = name_of(network, group);
    EXPECT_EQ(group.outlier_suppression_skips, name == "encoder.2.ffn.norm") << name;
    const bool ones = at::equal(group.norm->weight, at::ones_like(group.norm->weight));
    EXPECT_EQ(ones, !group.outlier_suppression_skips) << name;
  }
}

TEST_P(GammaMigrationLogits, StayWithTheEpsilonOfTheModel) {
  QuantizedNetwork network(golden("", GetParam()), kEverySite);
  migrate(network);
  const at::Tensor found = float_logits(network, GetParam());
  for (const char* name : {"fp.logits", "gm.logits_model_eps"}) {
    const at::Tensor expected = golden_logits(name, GetParam());
    EXPECT_LE(max_difference(found, expected), float_tolerance(expected)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GammaMigrationParameters,
                         testing::Values(kBert, kRoberta, kQuestions));
INSTANTIATE_TEST_SUITE_P(Models, GammaMigrationLogits, testing::Values(kBert, kRoberta));

TEST(GammaMigration, PublishedEpsilonMovesThemAsPublished) {
  QuantizedNetwork network(golden(""), kEverySite);
  migrate(network, "epsilon: 1.0e-5");
  const at::Tensor found = float_logits(network), expected = golden_logits("gm.logits_eps1e-5");
  EXPECT_LE(max_difference(found, expected), float_tolerance(expected));
  EXPECT_GT(max_difference(found, golden_logits("fp.logits")), 1e-4);  // 1.6e-4 in the golden
}

TEST(GammaMigration, AgainChangesNothing) {
  QuantizedNetwork network(golden(""), kEverySite);
  migrate(network);
  const at::Tensor once = float_logits(network);
  migrate(network);
  EXPECT_TRUE(equal_bits(float_logits(network), once));
}

TEST(GammaMigration, LeavesChannelsWithoutGammaAlone) {
  QuantizedNetwork network(golden(""), kEverySite);
  ScaleGroup& migrated = group(network, "encoder.0.attention.norm");
  const Norm& norm = *migrated.norm;
  norm.weight[3] = 0.0f;
  norm.weight[5] = -1e-8f;
  norm.weight[7] = -0.5f;
  const at::Tensor before = float_logits(network);
  const Linear& reader = *migrated.readers.at(0);
  const at::Tensor beta = norm.bias.clone(), weight = reader.weight.clone();
  const std::string log = migrate(network);
  EXPECT_LE(max_difference(float_logits(network), before), float_tolerance(before));
  EXPECT_THAT(log, HasSubstr("2 of 64 channels of encoder.0.attention.norm"));
  EXPECT_THAT(log, HasSubstr("1e-05: 3, 5"));
  for (const int64_t channel : {3, 5}) {
    EXPECT_EQ(norm.bias[channel].item<float>(), beta[channel].item<float>());
    EXPECT_EQ(migrated.shortcuts[0]->scale[channel].item<float>(), 1.0f);
    EXPECT_TRUE(equal_bits(reader.weight.select(1, channel).contiguous(),
                           weight.select(1, channel).contiguous()));
  }
  EXPECT_EQ(norm.weight[3].item<float>(), 0.0f);
  EXPECT_EQ(norm.weight[5].item<float>(), -1e-8f);
  EXPECT_EQ(norm.weight[7].item<float>(), 1.0f);
  EXPECT_EQ(migrated.shortcuts[0]->scale[7].item<float>(), -0.5f);
}

TEST(GammaMigration, TheSmallestGammaIsAnOption) {
  QuantizedNetwork network(golden(""), kEverySite);
  const Norm& norm = *group(network, "encoder.1.ffn.norm").norm;
  const auto small = at::lt(at::abs(norm.weight), 0.8).sum().item<int64_t>();
  ASSERT_GT(small, 0);
  const at::Tensor before = float_logits(network);
  EXPECT_THAT(migrate(network, "smallest_gamma: 0.8"),
              HasSubstr(fmt::format("{} of 64 channels of encoder.1.ffn.norm", small)));
  EXPECT_LE(max_difference(float_logits(network), before), float_tolerance(before));
}

// Ranges found for the old weights would be wrong without anybody noticing.
TEST(GammaMigration, ForgetsWhatWasCalibratedBefore) {
  QuantizedNetwork network(golden(""), kEverySite);
  const std::vector<Batch> batches = golden_batches();
  network.calibrate(batches);
  migrate(network);
  EXPECT_THAT(message_of<Error>([&] { network.logits(batches[0], true, true); }),
              HasSubstr("has no range yet"));
  network.calibrate(batches);
  // Quantized weights are those of the new values, and not cached ones.
  const SiteId site = network.site("weight:encoder.0.attention.query");
  network.logits(batches[0], true, true);
  const SitePoint& point = *network.points().point(site);
  EXPECT_TRUE(equal_bits(network.points().quantized_weight(site, network.model().weight(site)),
                         point.quantizer->apply(network.model().weight(site), false)));
}

}  // namespace
}  // namespace quell

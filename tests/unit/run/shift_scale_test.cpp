// `shift_scale` and `smooth_quant` beyond what the published code shows: other models, what they
// add, what they refuse.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "framework/record/model_folder.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kRules =
    "{rules: [{sites: ['weight:*', 'activation:*'], quantize: true, bits: 6, grid: os_plus}]}";
constexpr const char* kGroups =
    "{include: placements/outlier_suppression_plus_float_products.yaml, rules: [{sites: "
    "['weight:*', 'activation:*'], bits: 4, granularity: group, group_size: 8}]}";

fs::path model(const std::string& name) { return test_data() / "models" / name; }

std::vector<Batch> batches_of(const fs::path& folder) {
  return read_batches(folder / "inputs.safetensors", {"b4.input_ids"});
}

std::string shift_scale(QuantizedNetwork& network, const fs::path& folder,
                        const std::string& params = "") {
  return network.transform("shift_scale", params, batches_of(folder));
}

TEST(ShiftScale, GivesLlamaBiasesWhereItIsAskedTo) {
  const fs::path folder = model("llama");
  QuantizedNetwork network(folder, kRules), plain(folder, kRules);
  const at::Tensor before = plain.logits(batches_of(folder)[0], false, false);
  EXPECT_THAT(shift_scale(network, folder), testing::Not(HasSubstr("without bias")));
  const size_t parameters = network.model().parameters().size();
  const std::string log = shift_scale(network, folder, "shift: always");
  EXPECT_THAT(log, HasSubstr("norms and linears without bias got one"));
  EXPECT_GT(network.model().parameters().size(), parameters);
  const at::Tensor found = network.logits(batches_of(folder)[0], false, false);
  EXPECT_LE(max_difference(found, before), float_tolerance(before));
  // The network that a later run reads is the same.
  const TemporaryFolder copy;
  write_model_folder(copy.path(), {network.model().stored_parameters(), ""}, folder);
  QuantizedNetwork again(copy.path(), kRules);
  EXPECT_TRUE(equal_bits(again.logits(batches_of(folder)[0], false, false), found));
}

TEST(ShiftScale, ShortcutsOfNormsBehindSumsUndoIt) {
  const fs::path folder = model("opt_post_norm");
  QuantizedNetwork network(folder, kRules);
  const at::Tensor before = network.logits(batches_of(folder)[0], false, false);
  shift_scale(network, folder, "smallest_threshold: 0.5");
  int64_t shortcuts = 0;
  for (const ScaleGroup& group : network.model().graph().groups) {
    for (const Shortcut* shortcut : group.shortcuts) {
      shortcuts += shortcut->shift.defined() && shortcut->scale.defined();
    }
  }
  EXPECT_GT(shortcuts, 0);
  const at::Tensor found = network.logits(batches_of(folder)[0], false, false);
  EXPECT_LE(max_difference(found, before), float_tolerance(before));
  const TemporaryFolder copy;
  write_model_folder(copy.path(), {network.model().stored_parameters(), ""}, folder);
  QuantizedNetwork again(copy.path(), kRules);
  EXPECT_TRUE(equal_bits(again.logits(batches_of(folder)[0], false, false), found));
}

// The published code raises there.
TEST(ShiftScale, WeightsInGroupsGoWithAScaledProduct) {
  const fs::path folder = model("llama");
  QuantizedNetwork network(folder, kGroups);
  const Batch batch = batches_of(folder)[0];
  const at::Tensor before = network.logits(batch, false, false);
  EXPECT_THAT(shift_scale(network, folder), HasSubstr("groups of linears, 0 shifted"));
  EXPECT_LE(max_difference(network.logits(batch, false, false), before), float_tolerance(before));
  network.calibrate({&batch, 1});
  QuantizedNetwork alone(folder, kGroups);
  alone.calibrate({&batch, 1});
  const auto error = [&](QuantizedNetwork& quantized) {
    return at::sub(quantized.logits(batch, true, true), before).square().mean().item<double>();
  };
  EXPECT_LT(error(network), 2 * error(alone));
}

TEST(ShiftScale, GivingUpEarlyChoosesTheSame) {
  const fs::path folder = test_data() / "parity/outlier_suppression";
  std::vector<std::string> keys;
  for (int i = 0; i < 5; ++i) keys.push_back(fmt::format("b{}.input_ids", i));
  const auto batches = read_batches(folder / "inputs.safetensors", keys);
  QuantizedNetwork early(folder, kRules), whole(folder, kRules);
  const std::string few = "batches: 5, sites: 'activation:encoder.1.attention.norm'";
  EXPECT_THAT(early.transform("shift_scale", fmt::format("{{{}}}", few), batches),
              testing::Not(HasSubstr("; 0 of ")));
  EXPECT_THAT(
      whole.transform("shift_scale", fmt::format("{{{}, early_abandon: false}}", few), batches),
      HasSubstr("; 0 of "));
  const auto expected = whole.model().parameters();
  for (const auto& [name, tensor] : early.model().parameters()) {
    EXPECT_TRUE(equal_bits(tensor, expected.at(name))) << name;
  }
}

TEST(ShiftScale, ForgetsWhatWasCalibratedBefore) {
  const fs::path folder = model("opt");
  QuantizedNetwork network(folder, kRules);
  const std::vector<Batch> batches = batches_of(folder);
  network.calibrate(batches);
  shift_scale(network, folder);
  EXPECT_THAT(message_of<Error>([&] { network.logits(batches[0], true, true); }),
              HasSubstr("has no range yet"));
}

TEST(ShiftScale, MistakesAreExplained) {
  const fs::path folder = model("opt");
  QuantizedNetwork network(folder, kRules), nothing(folder, "{rules: []}");
  const auto refusal = [&](QuantizedNetwork& of, const char* transform, const char* params) {
    return message_of<ConfigError>([&] { of.transform(transform, params, batches_of(folder)); });
  };
  for (const char* name : {"shift_scale", "smooth_quant"}) {
    EXPECT_THAT(message_of<ConfigError>([&] { network.transform(name); }),
                HasSubstr("raise calibration.samples"));
    EXPECT_THAT(
        refusal(network, name, "sites: ['activation:*.attention.norm', 'activation:x']"),
        AllOf(HasSubstr("pattern \"activation:x\""), HasSubstr("activation:decoder.0.ffn.norm")));
  }
  EXPECT_THAT(refusal(nothing, "shift_scale", ""), HasSubstr("outlier_suppression_plus.yaml"));
}

// With equal shares, rows and weights are equally wide in each channel.
TEST(SmoothQuant, HalvesTheDifficulty) {
  const at::NoGradGuard no_gradients;
  const fs::path folder = model("opt");
  QuantizedNetwork network(folder, kRules);
  const Batch batch = batches_of(folder)[0];
  const at::Tensor before = network.logits(batch, false, false);
  EXPECT_THAT(network.transform("smooth_quant", "", {&batch, 1}),
              HasSubstr("4 groups of linears, alpha 0.5"));
  std::map<SiteId, at::Tensor> widths;
  const at::Tensor after = network.logits(
      batch, false, false, [&](SiteId id, const at::Tensor& rows, const at::Tensor&) {
        if (rows.dim() == 2) widths[id] = rows.abs().amax(0);
      });
  EXPECT_LE(max_difference(after, before), float_tolerance(before));
  int64_t compared = 0;
  for (const ScaleGroup& group : network.model().graph().groups) {
    if (group.norm == nullptr || group.outlier_suppression_skips) continue;
    at::Tensor weights;
    for (const Linear* reader : group.readers) {
      const at::Tensor own = reader->weight.abs().amax(0);
      weights = weights.defined() ? at::maximum(weights, own) : own;
    }
    EXPECT_TRUE(at::allclose(widths.at(group.site), weights, /*rtol=*/1e-4, /*atol=*/0));
    ++compared;
  }
  EXPECT_EQ(compared, 4);
}

}  // namespace
}  // namespace quell

// BART as the published code of Outlier Suppression quantizes it, for its three uses.
//
// That code observes only the first B of B x heads probability matrices, and cuts keys and values
// of the cross-attention by the lengths of the decoder. quell does not: ranges of these sites, and
// what follows from them (losses, ratios, learned scales), differ on purpose. Everything else, and
// the logits that follow from given ranges, has to match.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "framework/model/generate.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using nlohmann::json;

struct Case {
  std::string name;       // "cls", "qa" or "gen"
  std::string placement;  // without backend tensorrt
  int64_t weights;        // quantized ones

  std::filesystem::path file(const std::string& file_name) const {
    return test_data() / "parity" / ("outlier_suppression_bart_" + name) / file_name;
  }
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

const Case kCases[] = {{"cls", "outlier_suppression_bart_classification", 38},
                       {"qa", "outlier_suppression_bart", 37},
                       {"gen", "outlier_suppression_bart", 37}};

// For a method of the published runs, such as "twc_fine_gamma/b6". What was learned has zero points
// between integers, which the quantizer that learned them rounds.
std::string quant(const Case& one, const std::string& method) {
  const bool tensorrt = method.find("tensorrt") != std::string::npos;
  return fmt::format(
      "{{include: [placements/{0}.yaml{1}], rules: ["
      "{{sites: 'weight:*', bits: {2}, symmetric: true, granularity: channel}},"
      "{{sites: 'activation:*', bits: {2}, symmetric: false, observer: avg_minmax, "
      "quantizer: {3}}}]}}",
      one.placement, tensorrt ? ", placements/outlier_suppression_bart_tensorrt.yaml" : "",
      method.back(), method.starts_with("twc_fine") ? "lsq_plus" : "fixed");
}

std::vector<Batch> batches_of(const Case& one, int first, int count) {
  std::vector<std::string> keys;
  for (int i = first; i < first + count; ++i) keys.push_back(fmt::format("b{}.input_ids", i));
  return read_batches(one.file("inputs.safetensors"), keys);
}

// Ranges that the published code finds in other rows than it says.
bool is_exempt(const Case& one, const std::string& node) {
  if (node.find("attention_probs") != std::string::npos) return true;
  return one.name == "gen" && (node.find("encoder_attn.key_") != std::string::npos ||
                               node.find("encoder_attn.value_") != std::string::npos);
}

// Outputs of one sequence as [values of the golden's kind, real tokens or 1, ...].
at::Tensor outputs_of(const Case& one, const Outputs& outputs, const Batch& batch, int64_t i) {
  if (one.name == "cls") return outputs.at("logits")[i];
  const int64_t first = batch.target_offsets()[i], count = batch.target_offsets()[i + 1] - first;
  if (one.name == "gen") return outputs.at("logits").narrow(0, first, count);
  return at::stack({outputs.at("start_logits").narrow(0, first, count),
                    outputs.at("end_logits").narrow(0, first, count)});
}

// Of the golden's tensor, which has padding: [5, 8, labels], [5, 2, 8, length], or, of batches 0
// and 4 (or only 4), [batches, sequences, length, vocabulary].
at::Tensor golden_of(const Case& one, const at::Tensor& all, int64_t batch, int64_t i,
                     int64_t length) {
  if (one.name == "cls") return all[batch][i];
  if (one.name == "qa") return all[batch].select(1, i).narrow(1, 0, length);
  return all[all.size(0) == 2 ? (batch == 4 ? 1 : 0) : 0][i].narrow(0, 0, length);
}

// The largest difference of each sequence that the golden has.
std::vector<double> differences(const Case& one, QuantizedNetwork& network,
                                const std::string& golden, bool quantized) {
  const at::NoGradGuard no_gradients;
  const Pass pass = network.pass(quantized, quantized);
  const at::Tensor expected = SafetensorsFile(one.file("logits.safetensors")).read(golden);
  std::vector<double> result;
  const std::vector<Batch> batches = batches_of(one, 0, 5);
  for (int64_t b = 0; b < 5; ++b) {
    const bool has_golden = one.name != "gen" || b == 4 || (b == 0 && expected.size(0) == 2);
    if (!has_golden) continue;
    const Batch& batch = batches[static_cast<size_t>(b)];
    const Outputs outputs = network.model().forward(batch, pass);
    const int64_t count = one.name == "gen" ? expected.size(1) : batch.sequences();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t length = batch.target_offsets()[i + 1] - batch.target_offsets()[i];
      result.push_back(max_difference(outputs_of(one, outputs, batch, i),
                                      golden_of(one, expected, b, i, length)));
    }
  }
  return result;
}

class Bart : public testing::TestWithParam<Case> {
 protected:
  const Case& case_ = GetParam();
  double float_bound() const {
    return float_tolerance(SafetensorsFile(case_.file("logits.safetensors")).read("fp.logits"));
  }
};

TEST_P(Bart, FloatLogits) {
  QuantizedNetwork network(case_.file(""), quant(case_, "minmax/b8"));
  const auto found = differences(case_, network, "fp.logits", false);
  EXPECT_GE(found.size(), 4u);
  EXPECT_LE(*std::max_element(found.begin(), found.end()), float_bound());
}

TEST_P(Bart, PlacementsNameExactlyTheNodesOfTheCode) {
  const json nodes = read_json_file(case_.file("nodes.json"));
  for (const char* backend : {"academic", "tensorrt"}) {
    const bool tensorrt = std::string(backend) == "tensorrt";
    QuantizedNetwork network(case_.file(""),
                             quant(case_, tensorrt ? "minmax_tensorrt/b8" : "minmax/b8"));
    std::vector<std::string> expected;
    for (const json& name : nodes[backend]) {
      // A quantizer that no forward pass reaches.
      if (name != "model.shared.weight_fake_quant") expected.push_back(name);
    }
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(network.quantized_names("outlier_suppression"), expected) << backend;
  }
}

TEST_P(Bart, GammaMigration) {
  QuantizedNetwork network(case_.file(""), quant(case_, "minmax/b8"));
  network.transform("gamma_migration");
  for (const char* golden : {"gm.logits_model_eps", "fp.logits"}) {
    const auto found = differences(case_, network, golden, false);
    EXPECT_LE(*std::max_element(found.begin(), found.end()), float_bound()) << golden;
  }
  const SafetensorsFile file(case_.file("gamma_migration.safetensors"));
  int64_t compared = 0;
  for (const std::string& name : file.names()) {
    const std::string module = name.substr(0, name.rfind('.'));
    at::Tensor found;
    if (name.ends_with(".weight")) {
      found = network.model().weight(network.site(module + ".weight_fake_quant"));
    } else if (name.ends_with(".bias")) {
      found = network.model().parameters().at(name);
    } else {
      continue;  // gammas of shortcuts are looked at below
    }
    // One division or product in float32.
    EXPECT_TRUE(at::allclose(found, file.read(name), /*rtol=*/1e-6, /*atol=*/0)) << name;
    ++compared;
  }
  EXPECT_GE(compared, 10);
  // The code's "before_X_residual.gamma" scales the shortcut that is added in front of norm X.
  const std::pair<const char*, const char*> shortcuts[] = {
      {"before_self_attn_layer_norm_residual.gamma", "self_attn.shortcut.scale"},
      {"before_encoder_attn_layer_norm_residual.gamma", "encoder_attn.shortcut.scale"},
      {"before_final_layer_norm_residual.gamma", "ffn.shortcut.scale"}};
  int64_t scales = 0;
  for (const std::string& name : file.names()) {
    for (const auto& [published, own] : shortcuts) {
      if (!name.ends_with(published)) continue;
      const std::string prefix = name.substr(0, name.size() - std::string(published).size());
      EXPECT_TRUE(equal_bits(network.model().parameters().at(prefix + own), file.read(name)))
          << name;
      ++scales;
    }
  }
  EXPECT_EQ(scales, 2 * 2 + 3 * 2);  // of two layers each
}

TEST_P(Bart, WeightScalesAfterGammaMigrationBitForBit) {
  QuantizedNetwork network(case_.file(""), quant(case_, "minmax/b6"));
  network.transform("gamma_migration");
  network.calibrate(batches_of(case_, 0, 1));
  const SafetensorsFile file(case_.file("weight_scales.safetensors"));
  int64_t compared = 0;
  for (const std::string& key : file.names()) {
    const std::string name = key.substr(key.rfind('/') + 1);
    const std::string node = name.substr(0, name.rfind('.'));
    if (node == "model.shared.weight_fake_quant") continue;
    EXPECT_TRUE(
        equal_bits(network.point(node).quantizer->parameters().scale, file.read(key).view({-1})))
        << node;
    ++compared;
  }
  EXPECT_EQ(compared, case_.weights);
}

TEST_P(Bart, RangesOfMinMax) {
  const json ptq = read_json_file(case_.file("ptq.json"));
  QuantizedNetwork network(case_.file(""), quant(case_, "minmax/b6"));
  network.calibrate(batches_of(case_, 0, 4));
  int64_t compared = 0;
  for (const auto& [name, row] : ptq["minmax/b6"]["final"].items()) {
    if (is_exempt(case_, name)) continue;
    // Ranges come out of the float network, so they inherit the order of its sums.
    const double scale = row[0];
    EXPECT_NEAR(network.point(name).quantizer->parameters().scale.item<double>(), scale,
                1e-5 * scale)
        << name;
    ++compared;
  }
  EXPECT_GE(compared, 34);
}

TEST_P(Bart, LogitsOfGivenRanges) {
  const json ptq = read_json_file(case_.file("ptq.json"));
  std::vector<double> all;
  for (const auto& [method, unused] : ptq.items()) {
    QuantizedNetwork network(case_.file(""), quant(case_, method));
    if (method.starts_with("twc_fine_gamma/")) network.transform("gamma_migration");
    network.calibrate(batches_of(case_, 0, 1),
                      fmt::format("{{from: {}, entry: [\"{}\", final]}}",
                                  case_.file("ptq.json").string(), method));
    const auto found = differences(case_, network, method + "/logits", true);
    all.insert(all.end(), found.begin(), found.end());
  }
  // The golden's own float64 repetition finds 4485 of 4490 sequences within 1e-4; another is one
  // flipped rounding.
  EXPECT_GE(share_within(all, 1e-4), 0.95);
}

INSTANTIATE_TEST_SUITE_P(Uses, Bart, testing::ValuesIn(kCases),
                         [](const auto& test) { return test.param.name; });

// The published run wrote with the quantized network and a cache.
TEST(BartText, OfTheQuantizedNetwork) {
  const Case& one = kCases[2];
  const SafetensorsFile file(one.file("logits.safetensors"));
  constexpr int64_t kTexts = 72;  // nine runs of eight
  int64_t same = 0, total = 0;
  for (const std::string& key : file.names()) {
    const size_t place = key.find("/generate_b4_beam");
    if (place == std::string::npos) continue;
    const std::string method = key.substr(0, place);
    const bool quantized = method != "fp";
    QuantizedNetwork network(one.file(""), quant(one, quantized ? method : "minmax/b8"));
    if (method.starts_with("twc_fine_gamma/")) network.transform("gamma_migration");
    if (quantized) {
      network.calibrate(batches_of(one, 0, 1), fmt::format("{{from: {}, entry: [\"{}\", final]}}",
                                                           one.file("ptq.json").string(), method));
    }
    GenerationOptions options;
    options.decoder_start_token_id = 2;
    options.eos_token_id = options.forced_eos_token_id = {2};
    options.pad_token_id = 1;
    options.num_beams = key[place + std::string("/generate_b4_beam").size()] - '0';
    options.max_length = std::stoi(key.substr(key.rfind("max") + 3));
    const auto written = generate(network.model(), batches_of(one, 4, 1)[0], options,
                                  network.pass(quantized, quantized));
    const at::Tensor expected = file.read(key).to(at::kLong).contiguous();
    for (int64_t i = 0; i < expected.size(0); ++i) {
      const int64_t* row = expected.const_data_ptr<int64_t>() + i * expected.size(1);
      std::vector<int64_t> ids(row, row + expected.size(1));
      while (ids.size() > 1 && ids.back() == options.pad_token_id) ids.pop_back();
      same += written[static_cast<size_t>(i)].ids == ids;
      if (!quantized) {
        EXPECT_EQ(written[static_cast<size_t>(i)].ids, ids) << key << " " << i;
      }
      ++total;
    }
  }
  // One flipped rounding of a quantized network can turn a text.
  EXPECT_GE(total, kTexts) << "texts compared";
  EXPECT_GE(same, total * 9 / 10) << "of " << total;
}

}  // namespace
}  // namespace quell

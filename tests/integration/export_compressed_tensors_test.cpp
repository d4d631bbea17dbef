// Networks as vLLM loads them: codes and grids in the file are those of the quantized network, and
// what the format cannot say is refused before anything is computed.
#include <gmock/gmock.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <fmt/format.h>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/linears_experiment.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kSymmetric = "bits: 8, symmetric: true, granularity: channel";

class ExportCompressedTensors : public testing::Test {
 protected:
  fs::path out() const { return folder_.path() / "out"; }
  ProgramResult export_folder(const std::string& experiment) {
    fs::remove_all(out());
    folder_.write("experiment.yaml", experiment);
    return run_quell(
        {"export", "experiment.yaml", "--format", "compressed-tensors", "--output", out().string()},
        folder_.path());
  }
  nlohmann::json quantization_config() const {
    return read_json_file(out() / "config.json")["quantization_config"];
  }
  void expect_refused(const std::string& experiment, const std::string& reason) {
    const ProgramResult result = export_folder(experiment);
    EXPECT_EQ(result.exit_code, 2) << result.errors;
    EXPECT_THAT(result.errors, HasSubstr(reason));
    EXPECT_FALSE(fs::exists(out()));
  }

  at::NoGradGuard no_gradients_;
  TemporaryFolder folder_;
};

// (codes - zero point) * scale of a module of the file.
at::Tensor unpacked(const SafetensorsFile& file, const std::string& module, int64_t bits) {
  if (file.contains(module + ".weight")) return file.read(module + ".weight");
  const at::Tensor words = file.read(module + ".weight_packed");
  const at::Tensor shape = file.read(module + ".weight_shape");
  const int64_t rows = shape[0].item<int64_t>(), columns = shape[1].item<int64_t>();
  at::Tensor codes = at::empty({rows, columns}, at::kInt);
  const int64_t in_word = 32 / bits;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < columns; ++k) {
      const auto word = static_cast<uint32_t>(words[r][k / in_word].item<int32_t>());
      const uint32_t code = word >> (k % in_word * bits) & ((1U << bits) - 1);
      codes[r][k] = static_cast<int32_t>(code) - (1 << (bits - 1));
    }
  }
  return codes;
}

at::Tensor weight_of(const SafetensorsFile& file, const std::string& module, int64_t bits) {
  const at::Tensor codes = unpacked(file, module, bits);
  const at::Tensor scale = file.read(module + ".weight_scale");
  return codes.to(at::kFloat) * scale.repeat_interleave(codes.size(1) / scale.size(1), 1);
}

TEST_F(ExportCompressedTensors, WeightsAreTheCodesOfTheQuantizedNetwork) {
  struct Case {
    const char *model, *weights, *activations, *format;
    int64_t bits;
  };
  for (const Case& one :
       {Case{"llama", kSymmetric, "bits: 8", "int-quantized", 8},
        Case{"llama_biases", "bits: 6, symmetric: true", "bits: 8, granularity: token",
             "int-quantized", 8},
        Case{"opt", "bits: 4, symmetric: true, granularity: group, group_size: 8", "",
             "pack-quantized", 4},
        Case{"bloom", kSymmetric, "bits: 8", "int-quantized", 8},  // query, key, value in one
        Case{"llama", kSymmetric, "", "pack-quantized", 8}}) {
    SCOPED_TRACE(std::string(one.model) + ", " + one.weights);
    const fs::path model = test_data() / "models" / one.model;
    const std::string rules = linear_rules(one.weights, one.activations);
    const ProgramResult result = export_folder(linears_experiment(model, rules));
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    QuantizedNetwork network(model, "{rules: " + rules + "}");
    network.calibrate(read_batches(model / "inputs.safetensors", {"b4.input_ids"}));
    const SafetensorsFile file(out() / "model.safetensors");
    const std::map<std::string, at::Tensor> weights = quantized_weights(network);
    ASSERT_GE(weights.size(), 6U);
    for (const auto& [module, weight] : weights) {
      EXPECT_TRUE(at::equal(weight_of(file, module, one.bits), weight)) << module;
    }
    const nlohmann::json config = quantization_config();
    EXPECT_EQ(config["format"], one.format);
    EXPECT_EQ(config["config_groups"].size(), 1U);
    EXPECT_THAT(config["ignore"], Contains("lm_head"));
  }
}

TEST_F(ExportCompressedTensors, StaticInputsHaveTheirGrids) {
  const fs::path model = test_data() / "models/llama";
  const std::string query = "model.layers.0.self_attn.q_proj";
  for (const bool symmetric : {true, false}) {
    const std::string rules =
        linear_rules(kSymmetric, fmt::format("bits: 8, symmetric: {}", symmetric));
    ASSERT_EQ(export_folder(linears_experiment(model, rules)).exit_code, 0);
    QuantizedNetwork network(model, "{rules: " + rules + "}");
    network.calibrate(read_batches(model / "inputs.safetensors", {"b4.input_ids"}));
    const QuantParameters of =
        network.point("activation:decoder.0.attention.norm").quantizer->parameters();
    const SafetensorsFile file(out() / "model.safetensors");
    const at::Tensor scale = file.read(query + ".input_scale");
    EXPECT_EQ(scale.sizes(), at::IntArrayRef({1}));
    // safe_for_vllm() moves it by 49 units in the last place at most.
    EXPECT_NEAR(scale.item<float>() / of.scale.item<float>(), 1, 49 * 1.2e-7);
    EXPECT_EQ(file.contains(query + ".input_zero_point"), !symmetric);
    if (!symmetric) {
      const at::Tensor zero_point = file.read(query + ".input_zero_point");
      EXPECT_EQ(zero_point.scalar_type(), at::kChar);
      EXPECT_EQ(zero_point.item<int>(), of.zero_point.item<float>() - 128);
    }
    const nlohmann::json inputs =
        quantization_config()["config_groups"]["group_0"]["input_activations"];
    EXPECT_EQ(inputs["symmetric"], symmetric);
    EXPECT_EQ(inputs["strategy"], "tensor");
    EXPECT_EQ(inputs["dynamic"], false);
  }
}

TEST_F(ExportCompressedTensors, LinearsMayDiffer) {
  const fs::path model = test_data() / "models/llama";
  std::string rules = linear_rules(kSymmetric, "bits: 8");
  rules.pop_back();
  rules +=
      ", {sites: 'activation:decoder.1.ffn.product', quantize: false}"
      ", {sites: 'weight:decoder.0.attention.output', quantize: false}"
      ", {sites: 'activation:decoder.0.attention.context', quantize: false}]";
  const ProgramResult result = export_folder(linears_experiment(model, rules));
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const nlohmann::json config = quantization_config();
  EXPECT_EQ(config["format"], "mixed-precision");
  ASSERT_EQ(config["config_groups"].size(), 2U);
  std::map<std::string, nlohmann::json> targets;
  for (const nlohmann::json& group : config["config_groups"]) {
    targets[group["format"]] = group["targets"];
  }
  EXPECT_EQ(targets["pack-quantized"], nlohmann::json({"model.layers.1.mlp.down_proj"}));
  EXPECT_THAT(targets["int-quantized"], Contains("model.layers.0.mlp.down_proj"));
  EXPECT_THAT(targets["int-quantized"], Not(Contains("model.layers.1.mlp.down_proj")));
  EXPECT_THAT(config["ignore"], Contains("model.layers.0.self_attn.o_proj"));
}

TEST_F(ExportCompressedTensors, RefusesWhatTheFormatCannotSay) {
  const fs::path models = test_data() / "models";
  const auto refuse = [&](const char* model, const std::string& rules, const std::string& reason) {
    expect_refused(linears_experiment(models / model, rules), reason);
  };
  const std::string static_inputs = "bits: 8";
  const auto with = [&](const std::string& rule) {
    std::string rules = linear_rules(kSymmetric, static_inputs);
    rules.pop_back();
    return rules + ", " + rule + "]";
  };
  refuse("llama", with("{sites: 'activation:decoder.*.attention.query', quantize: true, bits: 8}"),
         "activation:decoder.0.attention.query and ");
  refuse("llama", with("{sites: 'weight:embeddings.word', quantize: true, bits: 8}"),
         "no weight of a linear");
  refuse("llama", with("{sites: 'weight:lm_head', quantize: true, bits: 8}"),
         "outside of the layers");
  refuse("llama", with("{sites: 'weight:*', symmetric: false}"), "`symmetric: true`");
  refuse("llama", with("{sites: 'activation:*', bits: 6}"), "6 bits of an activation");
  refuse("llama", with("{sites: 'weight:decoder.1.attention.key', quantize: false}"),
         "the input of a linear whose weight is float");
  refuse("llama", with("{sites: 'activation:*', symmetric: true, grid: os_plus}"), "ends at -127");
  refuse("llama", "[]", "quantizes nothing");
  refuse("gpt2", linear_rules(kSymmetric, static_inputs), "Conv1D");
  refuse("opt_post_norm", linear_rules(kSymmetric, static_inputs), "shortcut");
  refuse("llama", linear_rules("bits: 16", ""), "16 bits of a weight");
  std::string unequal = linear_rules("bits: 8", "");
  unequal.pop_back();
  refuse("llama", unequal + ", {sites: 'weight:decoder.1.attention.key', bits: 4}]",
         "reads the same rows as weight:decoder.1.attention.query");
}

}  // namespace
}  // namespace quell

// Exported language models, loaded by transformers and by the package compressed-tensors. They take
// 5 GB: see tests/python/transformers.sh.
#include <gmock/gmock.h>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/linears_experiment.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

const fs::path kScripts = source_folder() / "tests/python";

using NamedTensorList = std::vector<std::pair<std::string, at::Tensor>>;

class Transformers : public testing::Test {
 protected:
  void SetUp() override {
    std::string python =
        run_command({(kScripts / "transformers.sh").string()}, source_folder()).output;
    while (!python.empty() && python.back() == '\n') python.pop_back();
    if (python.empty()) {
      GTEST_SKIP() << "transformers is not there; QUELL_LARGE_PACKAGES=1 installs it (5 GB)";
    }
    command_ = {python, (kScripts / "run_exported.py").string()};
  }

  // Exports a network, to be compared with these tensors: see run_exported.py.
  void add(const std::string& format, const std::string& experiment,
           const NamedTensorList& expected) {
    const std::string name = std::to_string(command_.size());
    folder_.write("experiment.yaml", experiment);
    const ProgramResult result = run_quell(
        {"export", "experiment.yaml", "--format", format, "--output", name}, folder_.path());
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    write_safetensors(folder_.path() / (name + ".safetensors"), expected);
    command_.insert(command_.end(), {name, name + ".safetensors"});
  }
  // What the script says of each.
  nlohmann::json compare() {
    const ProgramResult result = run_command(command_, folder_.path());
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return parse_json(result.output, "run_exported.py");
  }
  // The first sequence of a batch, with its logits.
  static NamedTensorList with_logits(const Batch& batch, const at::Tensor& logits) {
    const int64_t length = batch.length(0);
    return {{"ids", batch.token_ids.slice(0, 0, length)}, {"logits", logits.slice(0, 0, length)}};
  }

  at::NoGradGuard no_gradients_;
  TemporaryFolder folder_;
  std::vector<std::string> command_;
};

std::vector<Batch> batches_of(const fs::path& model) {
  return read_batches(model / "inputs.safetensors", {"b4.input_ids"});
}

// Beside the network of quell behind the same transform.
TEST_F(Transformers, HasTheLogitsOfMigratedModels) {
  for (const auto& [name, transform] :
       {std::pair("opt", "shift_scale"), std::pair("opt", "smooth_quant"),
        std::pair("llama", "smooth_quant"), std::pair("llama_biases", "shift_scale"),
        std::pair("bloom", "shift_scale"), std::pair("gpt2", "shift_scale")}) {
    SCOPED_TRACE(std::string(name) + ", " + transform);
    const fs::path model = test_data() / "models" / name;
    const std::string rules = linear_rules("bits: 6", "bits: 6");
    QuantizedNetwork network(model, "{rules: " + rules + "}");
    const std::vector<Batch> batches = batches_of(model);
    network.transform(transform, "", batches);
    add("huggingface", linears_experiment(model, rules, fmt::format("[{}, calibrate]", transform)),
        with_logits(batches[0], network.logits(batches[0], false, false)));
  }
  for (const nlohmann::json& found : compare()) {
    SCOPED_TRACE(found.dump());
    EXPECT_EQ(found.at("linears"), 0);
    EXPECT_TRUE(found.at("same_linears"));
    // float32 by other kernels.
    EXPECT_LE(found.at("largest"), 1e-4);
  }
}

struct Case {
  const char* model;
  std::string weights, activations;
  bool loads = true;  // by transformers
};

// compressed-tensors 0.20 makes room for zero points of weights that are not packed, while its own
// files have packed ones: transformers refuses these, the package alone dequantizes them.
std::vector<Case> cases() {
  const std::string rows = "bits: 8, symmetric: true, granularity: channel";
  return {{"llama", rows, "bits: 8"},
          {"llama", rows, "bits: 8, symmetric: true"},
          {"llama_biases", rows, "bits: 8, granularity: token"},
          {"opt", rows, "bits: 8, symmetric: true, granularity: token"},
          {"opt", "bits: 4, symmetric: true", "bits: 8"},
          {"bloom", rows, "bits: 8"},
          {"llama", rows, ""},
          {"opt", "bits: 4, symmetric: true, granularity: group, group_size: 8", ""},
          {"llama", "bits: 4, symmetric: false, granularity: group, group_size: 8", "", false},
          {"llama", "bits: 6, symmetric: false, granularity: channel", "", false}};
}

TEST_F(Transformers, HasTheCodesAndTheLogitsOfQuantizedModels) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(std::string(one.model) + ", " + one.weights + "; " + one.activations);
    const fs::path model = test_data() / "models" / one.model;
    const std::string rules = linear_rules(one.weights, one.activations);
    QuantizedNetwork network(model, "{rules: " + rules + "}");
    const std::vector<Batch> batches = batches_of(model);
    network.calibrate(batches);
    NamedTensorList expected;
    if (one.loads) expected = with_logits(batches[0], network.logits(batches[0], true, true));
    for (const auto& [module, weight] : quantized_weights(network)) {
      expected.emplace_back(module + ".weight", weight);
    }
    add("compressed-tensors", linears_experiment(model, rules), expected);
  }
  const nlohmann::json all = compare();
  for (size_t i = 0; i < all.size(); ++i) {
    const nlohmann::json& found = all[i];
    SCOPED_TRACE(std::to_string(i) + ": " + found.dump());
    EXPECT_GE(found.at("linears"), 6);
    EXPECT_EQ(found.at("different"), 0);
    if (!cases()[i].loads) continue;
    EXPECT_TRUE(found.at("same_linears"));
    // Float rows in another order of sums; and codes that these turn.
    const double share = cases()[i].activations.empty() ? 1e-5 : 0.01;
    EXPECT_LE(found.at("rms"), share * found.at("size").get<double>());
  }
}

}  // namespace
}  // namespace quell

// `quell export --format onnx`, run by onnxruntime and by OpenVINO. Their Python packages are
// installed by the first run; without a network the test is skipped.
#include <gmock/gmock.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/json/json.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

using testing::HasSubstr;

const std::filesystem::path kScripts = source_folder() / "tests/python";

// The python that has both, or "".
std::string python_with_runtimes() {
  std::string path =
      run_command({(kScripts / "onnx_runtimes.sh").string()}, source_folder()).output;
  while (!path.empty() && path.back() == '\n') path.pop_back();
  return path;
}

// The sentences of a table, one a line.
std::string sentences(const std::string& table) {
  std::string text;
  size_t line = table.find('\n') + 1;
  while (line < table.size()) {
    text += table.substr(line, table.find('\t', line) - line) + "\n";
    line = table.find('\n', line) + 1;
  }
  return text;
}

// What run_onnx.py says of `folder`/network and `folder`/run. Null, and told, where OpenVINO is
// killed by a signal, which no file of ours should do to it.
nlohmann::json comparison(const std::string& python, const TemporaryFolder& folder,
                          const std::string& runtime) {
  const ProgramResult result =
      run_command({python, (kScripts / "run_onnx.py").string(), "network/model.onnx",
                   "tokens.jsonl", "run/predictions.jsonl", runtime},
                  folder.path());
  if (result.signal != 0 && runtime == "openvino") {
    std::cout << "left out: OpenVINO was killed by signal " << result.signal << "\n";
    return {};
  }
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return result.exit_code == 0 ? parse_json(result.output, runtime) : nlohmann::json();
}

TEST(Onnx, RuntimesGiveTheSameAnswers) {
  const std::string python = python_with_runtimes();
  if (python.empty()) GTEST_SKIP() << "onnxruntime and OpenVINO could not be installed";
  const TemporaryFolder folder;
  folder.write("few.yaml", glue_experiment(folder));
  const auto quell = [&](const std::vector<std::string>& arguments) {
    const ProgramResult result = run_quell(arguments, folder.path());
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return result.output;
  };
  folder.write("few.txt", sentences(read_file(folder / "data/dev.tsv")));
  folder.write("tokens.jsonl", quell({"tokenize", (quickstart() / "model").string(), "few.txt"}));
  for (const std::string symmetric : {"false", "true"}) {
    for (const std::string bits : {"8", "6"}) {
      const std::string wide = "quant.rules[0].bits=" + bits,
                        grid = "quant.rules[0].symmetric=" + symmetric;
      quell({"run", "few.yaml", "--set", wide, "--set", grid, "--output", "run", "--overwrite"});
      quell({"export", "few.yaml", "--set", wide, "--set", grid, "--format", "onnx", "--output",
             "network", "--overwrite"});
      for (const std::string runtime : {"onnxruntime", "openvino"}) {
        SCOPED_TRACE(runtime + ", " + bits + " bits, symmetric: " + symmetric);
        const nlohmann::json found = comparison(python, folder, runtime);
        if (found.is_null()) continue;
        EXPECT_EQ(found.at("predictions"), 12);
        // Sums in float32 are added in other orders: single codes turn, and an answer that is
        // undecided may turn with them. Of 160 sentences onnxruntime turned 2 at most, OpenVINO,
        // whose integer operations round otherwise, 6.
        const bool is_openvino = runtime == "openvino";
        EXPECT_LE(found.at("different").get<int>(), is_openvino ? 2 : 1);
        EXPECT_LE(found.at("rms").get<double>(), is_openvino ? 0.3 : 0.1);
      }
    }
  }
}

// What `quell tokenize` would say of a batch.
std::string tokens_of(const Batch& batch) {
  std::string lines;
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    const auto part = [&](const at::Tensor& all) {
      const int64_t* values = all.const_data_ptr<int64_t>();
      return std::vector<int64_t>(values + batch.offsets[i], values + batch.offsets[i + 1]);
    };
    const nlohmann::json line = {{"ids", part(batch.token_ids)},
                                 {"types", part(batch.segment_ids)}};
    lines += line.dump() + "\n";
  }
  return lines;
}

// The experiment on one batch of a tiny model with random weights: every site is quantized, some
// with few bits, some with groups.
std::string every_site(const std::filesystem::path& model, int64_t batch) {
  return fmt::format(R"(name: tiny
threads: 1
model: {{path: {0}}}
task:
  type: tokens
  path: {0}/inputs.safetensors
  keys: "b{{}}.input_ids"
  calibration_batches: [{1}]
  evaluation_batches: [{1}]
stages: [quantized]
quant:
  rules:
    - {{sites: ["weight:*", "activation:*"], quantize: true, bits: 8}}
    - {{sites: "weight:*", symmetric: true, observer: minmax}}
    - {{sites: "weight:*.ffn.*", bits: 4, granularity: channel}}
    - {{sites: "activation:*", observer: avg_minmax}}
    - {{sites: "activation:*.attention.context", bits: 5}}
    - {{sites: "activation:*.ffn.norm", granularity: feature_groups, groups: 4}}
)",
                     model.string(), batch);
}

struct Encoder {
  const char* folder;
  int64_t batch;
  bool by_openvino = true;  // release 2026.4.1 was killed by a signal on widths such as 24
};

TEST(Onnx, EveryEncoder) {
  const std::string python = python_with_runtimes();
  if (python.empty()) GTEST_SKIP() << "onnxruntime and OpenVINO could not be installed";
  for (const Encoder& encoder :
       {Encoder{"parity/outlier_suppression", 2}, Encoder{"parity/outlier_suppression_roberta", 2},
        Encoder{"models/distilbert", 4}, Encoder{"models/distilroberta", 4, false},
        Encoder{"models/electra", 4}, Encoder{"models/electra_small", 4, false}}) {
    SCOPED_TRACE(encoder.folder);
    const std::filesystem::path model = test_data() / encoder.folder;
    const TemporaryFolder folder;
    folder.write("tiny.yaml", every_site(model, encoder.batch));
    const std::string name = fmt::format("b{}.input_ids", encoder.batch);
    folder.write("tokens.jsonl", tokens_of(read_batches(model / "inputs.safetensors", {name})[0]));
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"run", "tiny.yaml", "--output", "run"},
          {"export", "tiny.yaml", "--format", "onnx", "--output", "network"}}) {
      const ProgramResult result = run_quell(arguments, folder.path());
      ASSERT_EQ(result.exit_code, 0) << result.errors;
    }
    for (const std::string runtime : {"onnxruntime", "openvino"}) {
      const bool is_openvino = runtime == "openvino";
      if (is_openvino && !encoder.by_openvino) continue;
      SCOPED_TRACE(runtime);
      const nlohmann::json found = comparison(python, folder, runtime);
      if (found.is_null()) continue;
      // A code that a sum in another order turns moves a logit by a few hundredths; OpenVINO rounds
      // ties otherwise, too. Measured: 2e-8 and 0.06.
      EXPECT_LE(found.at("rms").get<double>(), is_openvino ? 0.15 : 0.01);
    }
  }
}

TEST(Onnx, WhatTheFormatCannotSayIsRefusedBeforeAnyWork) {
  const TemporaryFolder folder;
  folder.write("few.yaml", glue_experiment(folder));
  folder.write("llama.yaml", every_site(test_data() / "models/llama", 4));
  for (const auto& [file, reason] : {std::pair("few.yaml", "granularity token"),
                                     std::pair("llama.yaml", "a model with a decoder")}) {
    std::vector<std::string> arguments = {"export", file,       "--format",
                                          "onnx",   "--output", "network"};
    if (std::string(file) == "few.yaml") {
      arguments.insert(arguments.end(), {"--set", "quant.rules[0].granularity=token"});
    }
    const ProgramResult result = run_quell(arguments, folder.path());
    EXPECT_EQ(result.exit_code, 2) << file;
    EXPECT_THAT(result.errors, HasSubstr(reason));
    EXPECT_FALSE(std::filesystem::exists(folder / "network"));
  }
}

}  // namespace
}  // namespace quell

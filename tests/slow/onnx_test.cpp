// `quell export --format onnx`, run by onnxruntime and by OpenVINO. Their Python packages are
// installed by the first run; without a network the test is skipped.
#include <gmock/gmock.h>

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
        const ProgramResult result =
            run_command({python, (kScripts / "run_onnx.py").string(), "network/model.onnx",
                         "tokens.jsonl", "run/predictions.jsonl", runtime},
                        folder.path());
        ASSERT_EQ(result.exit_code, 0) << result.errors;
        const nlohmann::json found = parse_json(result.output, runtime);
        EXPECT_EQ(found.at("predictions"), 12);
        // OpenVINO rounds ties of codes its own way, which may turn an answer that is undecided.
        EXPECT_LE(found.at("different").get<int>(), runtime == "openvino" ? 1 : 0);
        EXPECT_LE(found.at("rms").get<double>(), 0.2);
      }
    }
  }
}

TEST(Onnx, WhatTheFormatCannotSayIsRefusedBeforeAnyWork) {
  const TemporaryFolder folder;
  folder.write("few.yaml", glue_experiment(folder));
  for (const auto& [setting, reason] : {std::pair("quant.rules[0].bits=16", "16 bits"),
                                        std::pair("quant.rules[0].granularity=token", "token")}) {
    const ProgramResult result = run_quell(
        {"export", "few.yaml", "--format", "onnx", "--set", setting, "--output", "network"},
        folder.path());
    EXPECT_EQ(result.exit_code, 2) << setting;
    EXPECT_THAT(result.errors, HasSubstr(reason));
    EXPECT_FALSE(std::filesystem::exists(folder / "network"));
  }
}

}  // namespace
}  // namespace quell

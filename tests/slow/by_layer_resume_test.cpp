// A model of which one layer is in memory at a time, killed while it is transformed, calibrated and
// evaluated: --resume goes on at the next block and ends in the same bytes, which are those of the
// model in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <chrono>
#include <thread>

#include "framework/base/file.h"
#include "tests/support/program.h"
#include "tests/support/random_model.h"
#include "tests/support/small_experiment.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLayers = 6, kHidden = 512, kVocabulary = 6000;

// A block and a pass over the evaluation take longer than progress is stored apart.
std::string experiment(const std::string& by_layer) {
  const std::string language = (test_data() / "language").string();
  return fmt::format(R"(
name: large
threads: 1
model: {{path: model{0}}}
task: {{type: perplexity, path: {1}/items, dev_file: text.txt, length: 128, batch_size: 4}}
calibration: {{file: {1}/items/wikitext.txt, samples: 4}}
quant:
  include: placements/outlier_suppression_plus.yaml
  rules: [{{sites: ["weight:*", "activation:*"], bits: 8}}]
pipeline: [by_block: [shift_scale: {{candidates: 10}}, calibrate]]
stages: [float, quantized]
)",
                     by_layer, language);
}

class ByLayerResume : public testing::Test {
 protected:
  ByLayerResume() {
    fs::create_directories(folder_ / "model");
    write_random_model(folder_ / "model", {"llama", kLayers, kHidden, 8, kVocabulary, 256},
                       /*outliers=*/true);
    const fs::path tokens = test_data() / "language/model";
    fs::copy(tokens / "tokenizer.json", folder_ / "model/tokenizer.json");
    std::string text = read_file(test_data() / "language/items/wikitext.txt");
    text += text;
    folder_.write("text.txt", text);
    folder_.write("whole.yaml", experiment(""));
    folder_.write("by_layer.yaml", experiment(", by_layer: {states: disk}"));
  }
  std::vector<std::string> arguments(const std::string& file, const std::string& output,
                                     const std::string& option = "") const {
    std::vector<std::string> result = {"run", file, "--output", output, "--quiet"};
    if (!option.empty()) result.push_back(option);
    return result;
  }
  // Starts the run, and kills it once this file is there.
  bool kill_at(const std::string& file, const std::string& option) const {
    const pid_t child = start_quell(arguments("by_layer.yaml", "killed", option), folder_.path());
    int status = 0;
    while (!fs::exists(folder_ / "killed/progress" / file)) {
      if (::waitpid(child, &status, WNOHANG) == child) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status);
  }
  void expect_same_files(const std::string& a, const std::string& b,
                         std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      EXPECT_TRUE(read_file(folder_ / a / name) == read_file(folder_ / b / name)) << name;
    }
  }
  TemporaryFolder folder_;
};

TEST_F(ByLayerResume, KilledInEveryLongPartEndsInTheSameBytes) {
  ASSERT_EQ(run_quell(arguments("whole.yaml", "whole"), folder_.path()).exit_code, 0);
  ASSERT_EQ(run_quell(arguments("by_layer.yaml", "by_layer"), folder_.path()).exit_code, 0);
  expect_same_files("whole", "by_layer", {"metrics.json", "predictions.jsonl"});
  ASSERT_TRUE(kill_at("float/batches-0.safetensors", ""));
  ASSERT_TRUE(kill_at("0-by_block.safetensors", "--resume"));
  ASSERT_TRUE(kill_at("quantized/batches-0.safetensors", "--resume"));
  EXPECT_FALSE(fs::exists(folder_ / "killed/metrics.json"));
  const ProgramResult resumed =
      run_quell(arguments("by_layer.yaml", "killed", "--resume"), folder_.path());
  ASSERT_EQ(resumed.exit_code, 0) << resumed.errors;
  expect_same_files("by_layer", "killed",
                    {"metrics.json", "predictions.jsonl", "results.h5", "config.resolved.yaml"});
  EXPECT_FALSE(fs::exists(folder_ / "killed/progress"));
}

}  // namespace
}  // namespace quell

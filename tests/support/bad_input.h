// Runs of the program that have to fail, and how.
#pragma once

#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/small_experiment.h"

namespace quell {

constexpr int kRunFailed = 1, kConfiguration = 2, kData = 3;

class BadInput : public testing::Test {
 protected:
  ProgramResult quell(const std::vector<std::string>& arguments) {
    return run_quell(arguments, folder_.path());
  }
  // The experiment must fail in this way, with all these words in the message.
  void expect_failure(const std::string& yaml, int exit_code, const std::vector<std::string>& words,
                      const std::vector<std::string>& more_arguments = {}) {
    folder_.write("bad.yaml", yaml);
    std::vector<std::string> arguments = {"run", "bad.yaml", "--quiet", "--overwrite"};
    arguments.insert(arguments.end(), more_arguments.begin(), more_arguments.end());
    const ProgramResult result = quell(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << "signal " << result.signal << ": " << result.errors;
    EXPECT_THAT(result.errors, testing::HasSubstr("error: "));
    EXPECT_THAT(result.errors, testing::Not(testing::HasSubstr("internal")));
    for (const std::string& word : words) EXPECT_THAT(result.errors, testing::HasSubstr(word));
    for (const char* name : {"metrics.json", "results.h5", "predictions.jsonl"}) {
      EXPECT_FALSE(std::filesystem::exists(folder_ / "runs/tiny" / name)) << name;
    }
    EXPECT_EQ(folder_.partial_files(), 0);
  }
  // The tiny experiment with one piece of text replaced.
  static std::string edited(const std::string& from, const std::string& to,
                            std::string yaml = tokens_experiment()) {
    const size_t position = yaml.find(from);
    EXPECT_NE(position, std::string::npos) << from;
    return yaml.replace(position, from.size(), to);
  }
  // A copy of the tiny model that a test may damage.
  std::filesystem::path copy_model(const std::filesystem::path& from = tiny_model()) {
    const std::filesystem::path copy = folder_ / "model";
    std::filesystem::create_directories(copy);
    for (const auto& entry : std::filesystem::directory_iterator(from)) {
      const auto name = entry.path().filename();
      if (name == "config.json" || name == "model.safetensors" || name == "vocab.txt" ||
          name == "tokenizer_config.json") {
        std::filesystem::copy_file(entry.path(), copy / name,
                                   std::filesystem::copy_options::overwrite_existing);
      }
    }
    return copy;
  }

  TemporaryFolder folder_;
};

}  // namespace quell

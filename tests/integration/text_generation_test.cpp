// The task text_generation through the whole program: a decoder writes behind prompts.
#include <gmock/gmock.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/json/json.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class TextGenerationTest : public testing::Test {
 protected:
  std::string experiment(const std::string& task) {
    const auto model = test_data() / "language/model";
    const auto prompts = folder_.write(
        "prompts.jsonl",
        "{\"prompt\": \"The dog ran to\", \"reference\": \"the door.\", \"id\": \"a\"}\n"
        "{\"prompt\": \"It is cold\", \"reference\": \"outside.\", \"id\": \"b\"}\n");
    return folder_
        .write("experiment.yaml",
               fmt::format("name: texts\nmodel: {{path: {0}}}\n"
                           "task: {{type: text_generation, dev_file: {1}, train_file: {1}{2}}}\n"
                           "calibration: {{samples: 2}}\n"
                           "quant:\n  include: placements/outlier_suppression_plus.yaml\n  rules:\n"
                           "    - {{sites: ['weight:*', 'activation:*'], bits: 8}}\n"
                           "pipeline: [calibrate]\n",
                           model.string(), prompts.string(), task))
        .string();
  }
  ProgramResult quell(const std::vector<std::string>& arguments) {
    return run_quell(arguments, folder_.path());
  }

  TemporaryFolder folder_;
};

TEST_F(TextGenerationTest, WritesBehindPrompts) {
  const ProgramResult result =
      quell({"run",
             experiment(", reference_column: reference, max_new_tokens: 5, num_beams: 2, "
                        "num_return_sequences: 2"),
             "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const json stages = json::parse(result.output)["runs"][0]["stages"];
  for (const char* stage : {"float", "quantized"}) {
    EXPECT_LE(stages[stage]["gen_len"].get<double>(), 5);
    EXPECT_TRUE(stages[stage].contains("rouge1"));
  }
  std::istringstream lines(read_file(folder_.path() / "runs/texts/predictions.jsonl"));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const json first = json::parse(line);
  EXPECT_EQ(first["id"], "a");
  EXPECT_EQ(first["texts"]["float"].get<std::string>().find("The dog"), std::string::npos);
  EXPECT_EQ(first["more_texts"]["quantized"].size(), 1U);
}

TEST_F(TextGenerationTest, RefusesWhatCannotBe) {
  const auto expect_refused = [&](const std::string& task, const std::string& message) {
    const ProgramResult result = quell({"check", experiment(task)});
    EXPECT_NE(result.exit_code, 0) << task;
    EXPECT_THAT(result.errors, HasSubstr(message));
  };
  expect_refused(", max_new_tokens: 100000", "max_new_tokens");
  expect_refused(", num_return_sequences: 3", "is more than num_beams 1");
  expect_refused(", min_new_tokens: 70", "is more than max_new_tokens");
  expect_refused(", prompt_column: question", "question");
}

}  // namespace
}  // namespace quell

// Question answering through the program: a new head is trained, stored, quantized and scored.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/json/json.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// Answers are the word behind "was".
std::string questions() {
  json paragraphs = json::array();
  for (int i = 0; i < 12; ++i) {
    const std::string answer = i % 2 == 0 ? "good" : "bad";
    paragraphs.push_back(
        {{"context", fmt::format("film {} was {} to see", i, answer)},
         {"qas",
          {{{"id", fmt::format("q{}", i)},
            {"question", "how was it?"},
            {"answers", {{{"text", answer}, {"answer_start", i < 10 ? 11 : 12}}}}}}}});
  }
  return json{{"data", {{{"paragraphs", paragraphs}}}}}.dump();
}

std::string experiment(const TemporaryFolder& folder, const std::string& model,
                       const std::string& more) {
  return fmt::format(R"(name: questions
threads: 1
model: {{{}}}
task: {{type: squad, train_file: {}, dev_file: {}, max_length: 32, doc_stride: 4, batch_size: 4}}
calibration: {{samples: 8}}
{})",
                     model, folder.write("dev.json", questions()).string(),
                     (folder / "dev.json").string(), more);
}

TEST(Squad, ANewHeadIsTrainedStoredQuantizedAndScored) {
  const TemporaryFolder folder;
  const auto run = [&](const std::string& name, const std::string& yaml) {
    folder.write(name + ".yaml", yaml);
    return run_quell({"run", name + ".yaml", "--output", name}, folder.path());
  };
  const std::string classifier = fmt::format("path: {}", (quickstart() / "model").string());
  const ProgramResult refused =
      run("refused", experiment(folder, classifier, "pipeline: []\nstages: [float]\n"));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.errors, HasSubstr("head: question_answering"));

  const ProgramResult trained =
      run("trained", experiment(folder, classifier + ", head: question_answering",
                                R"(pipeline:
  - qat: {quantize: false, epochs: 12, learning_rate: 1.0e-3, dropout: 0}
stages: [transformed]
)"));
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  EXPECT_THAT(trained.errors, HasSubstr("12 questions are trained on and evaluated"));
  const double f1 = read_json_file(folder / "trained/metrics.json")["stages"]["transformed"]["f1"];
  EXPECT_GT(f1, 0.8);

  const ProgramResult quantized =
      run("quantized", experiment(folder, "path: trained/model", R"(quant:
  include: placements/outlier_suppression_qa.yaml
  rules: [{sites: ["weight:*", "activation:*"], bits: 8}]
stages: [float, quantized]
)"));
  ASSERT_EQ(quantized.exit_code, 0) << quantized.errors;
  const json metrics = read_json_file(folder / "quantized/metrics.json")["stages"];
  // The same weights, from float32 and back.
  EXPECT_EQ(metrics["float"]["f1"], f1);
  for (const std::string stage : {"float", "quantized"}) {
    const ProgramResult score =
        run_quell({"score", "squad", "--data", "dev.json", "--predictions",
                   "quantized/predictions.jsonl", "--stage", stage, "--json"},
                  folder.path());
    ASSERT_EQ(score.exit_code, 0) << score.errors;
    EXPECT_EQ(json::parse(score.output), metrics[stage]);
  }
}

}  // namespace
}  // namespace quell

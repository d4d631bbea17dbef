#include "tasks/data/glue_score.h"

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "support.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class GlueScore : public testing::Test {
 protected:
  void SetUp() override {
    options_.data = folder_.write("dev.tsv", "sentence\tlabel\na\t1\nb\t0\nc\t1\nd\t1\n");
  }
  Metrics score(const std::string& content, const std::string& name = "predictions.jsonl",
                const std::string& task = "sst2") {
    options_.predictions = folder_.write(name, content);
    const auto scorer = make_task("glue", "{name: " + task + "}", {});
    return scorer->score(options_);
  }
  template <class Exception>
  std::string refusal(const std::string& content, const std::string& name = "predictions.jsonl") {
    return message_of<Exception>([&] { score(content, name); });
  }

  TemporaryFolder folder_;
  ScoreOptions options_;
};

TEST_F(GlueScore, SimpleLines) {
  EXPECT_THAT(score("{\"prediction\": 1}\n{\"prediction\": \"positive\"}\n"
                    "{\"logits\": [0.1, 0.2]}\n{\"logits\": [3, -1]}\n"),
              ElementsAre(Pair("accuracy", 0.5)));
  EXPECT_THAT(score("{\"index\": 3, \"prediction\": 1}\n{\"index\": 2, \"prediction\": 1}\n"
                    "{\"index\": 0, \"prediction\": 1}\n{\"index\": 1, \"prediction\": 1}\n"),
              ElementsAre(Pair("accuracy", 0.75)));
}

TEST_F(GlueScore, Submission) {
  EXPECT_THAT(score("index\tprediction\n0\t1\n1\t0\n2\t1\n3\t1\n", "SST-2.tsv"),
              ElementsAre(Pair("accuracy", 1.0)));
  EXPECT_THAT(refusal<DataError>("id\tprediction\n0\t1\n", "SST-2.tsv"),
              HasSubstr("columns id, prediction; expected index, prediction"));
  EXPECT_THAT(refusal<DataError>("index\tprediction\nx\t1\n", "SST-2.tsv"),
              HasSubstr("SST-2.tsv:2: \"index\" must be a row number"));
}

std::string run_line(int index, int label, const std::string& good, const std::string& bad) {
  return "{\"set\": \"dev\", \"index\": " + std::to_string(index) +
         ", \"label\": " + std::to_string(label) +
         ", \"outputs\": {\"float\": {\"logits\": " + good +
         "}, \"weights_only\": {\"logits\": " + bad + "}}}\n";
}

TEST_F(GlueScore, StagesOfARun) {
  const std::string lines = run_line(0, 1, "[0, 1]", "[1, 0]") +
                            run_line(1, 0, "[1, 0]", "[1, 0]") +
                            run_line(2, 1, "[0, 1]", "[1, 0]") + run_line(3, 1, "[0, 1]", "[1, 0]");
  options_.stage = "float";
  EXPECT_THAT(score(lines), ElementsAre(Pair("accuracy", 1.0)));
  options_.stage = "weights_only";
  EXPECT_THAT(score(lines), ElementsAre(Pair("accuracy", 0.25)));
  options_.stage = "weight_only";
  EXPECT_THAT(refusal<ConfigError>(lines), HasSubstr("did you mean \"weights_only\""));
  options_.stage = "";
  EXPECT_THAT(refusal<ConfigError>(lines), HasSubstr("several stages (float, weights_only)"));
}

TEST_F(GlueScore, LabelOrderOfTheModel) {
  // The model's class 0 is "positive": the "label" entries show it.
  const std::string swapped =
      "{\"logits\": [1, 0], \"label\": 0}\n{\"logits\": [0, 1], \"label\": 1}\n"
      "{\"logits\": [1, 0], \"label\": 0}\n{\"logits\": [0, 1], \"label\": 0}\n";
  EXPECT_THAT(score(swapped), ElementsAre(Pair("accuracy", 0.75)));
  EXPECT_THAT(refusal<DataError>("{\"logits\": [1, 0], \"label\": 0}\n{\"logits\": [0, 1], "
                                 "\"label\": 0}\n{\"logits\": [1, 0]}\n{\"logits\": [0, 1]}\n"),
              HasSubstr("predictions.jsonl:2: label 0 contradicts the data file (negative)"));
  options_.labels = {"positive", "negative"};
  EXPECT_THAT(score("{\"logits\": [1, 0]}\n{\"logits\": [0, 1]}\n{\"logits\": [1, 0]}\n"
                    "{\"logits\": [1, 0]}\n"),
              ElementsAre(Pair("accuracy", 1.0)));
  options_.labels = {"good", "bad"};
  EXPECT_THAT(refusal<DataError>(swapped), HasSubstr("--labels: labels good, bad do not match"));
}

TEST_F(GlueScore, SetsOfMnli) {
  options_.data = folder_.write(
      "dev.jsonl", "{\"premise\": \"a\", \"hypothesis\": \"b\", \"label\": \"neutral\"}\n");
  const std::string lines =
      "{\"set\": \"dev_matched\", \"index\": 0, \"prediction\": \"neutral\"}\n"
      "{\"set\": \"dev_mismatched\", \"index\": 0, \"prediction\": \"entailment\"}\n";
  options_.set = "dev_mismatched";
  EXPECT_THAT(score(lines, "p.jsonl", "mnli"), ElementsAre(Pair("accuracy_mismatched", 0.0)));
  options_.set = "";
  EXPECT_THAT(message_of<ConfigError>([&] { score(lines, "p.jsonl", "mnli"); }),
              HasSubstr("several sets (dev_matched, dev_mismatched)"));
  options_.set = "dev";
  EXPECT_THAT(message_of<ConfigError>([&] { score(lines, "p.jsonl", "mnli"); }),
              HasSubstr("no set \"dev\""));
}

TEST_F(GlueScore, Regression) {
  options_.data =
      folder_.write("sts.tsv", "sentence1\tsentence2\tscore\na\tb\t1\na\tb\t2\na\tb\t4\n");
  const Metrics metrics =
      score("{\"logits\": [-0.5]}\n{\"prediction\": 0.5}\n{\"prediction\": \"2.5\"}\n", "p.jsonl",
            "stsb");
  ASSERT_EQ(metrics.size(), 2u);
  EXPECT_NEAR(metrics[0].second, 1.0, 1e-12);
  EXPECT_NEAR(metrics[1].second, 1.0, 1e-12);
}

TEST_F(GlueScore, FilesThatDoNotFit) {
  EXPECT_THAT(refusal<DataError>("{\"prediction\": 1}\n"),
              AllOf(HasSubstr("3 examples"), HasSubstr("have no prediction, first index 1")));
  EXPECT_THAT(refusal<DataError>("{\"index\": 0, \"prediction\": 1}\n{\"index\": 0, "
                                 "\"prediction\": 1}\n"),
              HasSubstr("predictions.jsonl:2: index 0 appears twice or is no example"));
  std::string five;
  for (int i = 0; i < 5; ++i) five += "{\"prediction\": 1}\n";
  EXPECT_THAT(refusal<DataError>(five), HasSubstr(":5: more predictions than the 4 examples"));
  EXPECT_THAT(refusal<DataError>("{\"prediction\": 2}\n{\"prediction\": 1}\n{\"prediction\": 1}\n"
                                 "{\"prediction\": 1}\n"),
              HasSubstr("predictions.jsonl:1: unknown prediction \"2\"; expected for sst2"));
  EXPECT_THAT(refusal<DataError>("{\"logits\": [1, 2, 3]}\n{\"prediction\": 1}\n"
                                 "{\"prediction\": 1}\n{\"prediction\": 1}\n"),
              HasSubstr(":1: 3 logits, expected 2"));
  EXPECT_THAT(refusal<DataError>("{\"logits\": [1, null]}\n"), HasSubstr("list of numbers"));
  EXPECT_THAT(refusal<DataError>("{\"index\": -1, \"prediction\": 1}\n"), HasSubstr("row number"));
  EXPECT_THAT(refusal<DataError>("{\"label\": 1}\n"), HasSubstr("expected \"outputs\""));
  EXPECT_THAT(refusal<DataError>(""), HasSubstr("holds no predictions"));
}

TEST_F(GlueScore, EqualsTheEvaluation) {
  WordTokenizer tokenizer;
  const nlohmann::json config = {{"id2label", {{"0", "positive"}, {"1", "negative"}}}};
  const auto task = make_task("glue", "{name: sst2, path: " + folder_.path().string() + "}",
                              {&tokenizer, &config, 0, 128, 50});
  const Evaluation evaluation =
      task->evaluate({[](const Batch& batch) {
                       at::Tensor logits = at::zeros({batch.sequences(), 2});
                       for (int64_t i = 0; i < batch.sequences(); ++i)
                         logits[i][1] = batch.example_ids[i] - 1.5;
                       return Outputs{{"logits", logits}};
                     }},
                     nullptr);
  std::string lines;
  for (const Prediction& prediction : evaluation.predictions) {
    nlohmann::json line = {{"set", prediction.set},
                           {"index", prediction.index},
                           {"label", *prediction.label},
                           {"outputs", {{"quantized", prediction.outputs}}}};
    lines += line.dump() + "\n";
  }
  EXPECT_EQ(score(lines), evaluation.metrics);
}

}  // namespace
}  // namespace quell

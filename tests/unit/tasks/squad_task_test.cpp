#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "squad_goldens.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// One article with the answer 70 words away from the beginning, one with two short questions.
std::string questions() {
  std::string words;
  for (int i = 0; i < 70; ++i) words += "word ";
  const auto question = [](const std::string& id, const std::string& text, int64_t start) {
    return json{
        {"id", id}, {"question", "who?"}, {"answers", {{{"text", text}, {"answer_start", start}}}}};
  };
  const json root = {
      {"data",
       {{{"paragraphs", {{{"context", words + "bob"}, {"qas", {question("a", "bob", 350)}}}}}},
        {{"paragraphs",
          {{{"context", "it was ann"},
            {"qas", {question("b", "ann", 7), question("c", "bill", 3)}}}}}}}}};
  return root.dump();
}

class SquadTask : public testing::Test {
 protected:
  void SetUp() override { folder_.write("dev.json", questions()); }

  std::unique_ptr<Task> make(const std::string& more = "") const {
    return make_task(
        "squad", "{max_length: 32, doc_stride: 8, path: " + folder_.path().string() + more + "}",
        context());
  }
  TaskContext context() const { return {&tokenizer(), &config_, 0, 64, 30522}; }
  static const Tokenizer& tokenizer() {
    static const auto bert = load_tokenizer(test_data("tokenizers/bert"));
    return *bert;
  }

  // The last token but [SEP] is the answer, the more so the shorter the window.
  static Outputs last_token(const Batch& batch) {
    at::Tensor logits = at::zeros({batch.tokens()});
    for (int64_t i = 0; i < batch.sequences(); ++i) {
      logits[batch.offsets[i + 1] - 2] = 100.0 - static_cast<double>(batch.length(i));
    }
    return {{"start_logits", logits}, {"end_logits", logits}};
  }

  TemporaryFolder folder_;
  json config_ = json::object();
};

TEST_F(SquadTask, AnswersByIdInTheOrderOfTheFile) {
  for (const char* more : {"", ", batch_size: 1", ", batch_size: 2"}) {
    const Evaluation evaluation = make(more)->evaluate({last_token}, nullptr);
    ASSERT_EQ(evaluation.predictions.size(), 3u);
    const std::vector<std::string> ids = {"a", "b", "c"}, texts = {"bob", "ann", "ann"};
    for (size_t i = 0; i < 3; ++i) {
      const Prediction& prediction = evaluation.predictions[i];
      EXPECT_EQ(prediction.set, "dev");
      EXPECT_EQ(prediction.index, static_cast<int64_t>(i));
      EXPECT_EQ(prediction.id, ids[i]);
      EXPECT_EQ(prediction.text, texts[i]);
      EXPECT_THAT(prediction.outputs, IsEmpty());  // one number per token would be too much
    }
    EXPECT_THAT(evaluation.metrics, ElementsAre(Pair("f1", 2.0 / 3), Pair("exact_match", 2.0 / 3)));
  }
}

TEST_F(SquadTask, SecondVersionStoresTheDifference) {
  const Evaluation evaluation = make(", version_2: true")->evaluate({last_token}, nullptr);
  // Both logits of the answer: 100 - 8 tokens; those of [CLS] are 0.
  EXPECT_THAT(evaluation.predictions[1].outputs,
              ElementsAre(Pair("null_score_diff", ElementsAre(-184.0f))));
  EXPECT_EQ(evaluation.metrics[0].first, "f1");
  const Evaluation none =
      make(", version_2: true, null_score_diff_threshold: -1000")->evaluate({last_token}, nullptr);
  EXPECT_EQ(none.predictions[1].text, "");
}

TEST_F(SquadTask, ArticlesOfOneFileForTrainingAndEvaluation) {
  const auto task = make(", train_file: dev.json, train_articles: 1, dev_articles: [0]");
  EXPECT_EQ(task->evaluate({last_token}, nullptr).predictions.size(), 1u);
  // The answer of c does not stand in its context.
  ASSERT_NE(task->training(), nullptr);
  EXPECT_EQ(task->training()->examples(), 1);
  EXPECT_THAT(task->notes(), ElementsAre(HasSubstr("left 1 questions out of training")));
  EXPECT_EQ(task->files().size(), 1u);
  const auto careless = make(", train_file: dev.json");
  careless->training()->examples();
  EXPECT_THAT(careless->notes().back(), HasSubstr("2 questions are trained on and evaluated"));
}

TEST_F(SquadTask, CalibrationDrawsQuestions) {
  CalibrationOptions options;
  options.samples = 3;
  options.split = "dev";
  const auto task = make(", batch_size: 4");
  const auto batches = task->calibration(options, 42);
  const auto drawn = task->calibration_indices();
  EXPECT_EQ(drawn.size(), 3u);
  int64_t windows = 0;
  for (const Batch& batch : batches) {
    windows += batch.sequences();
    EXPECT_EQ(batch.start_positions.size(0), batch.sequences());
  }
  // [CLS] who ? [SEP] ... [SEP]: 27 of the 71 tokens, of which 8 are shared.
  EXPECT_EQ(windows, 4 + 2);
  const auto again = make();
  again->calibration(options, 42);
  EXPECT_EQ(again->calibration_indices(), drawn);
  options.split = "train";
  EXPECT_THAT(message_of<DataError>([&] { make()->calibration(options, 1); }),
              HasSubstr("calibration: {split: dev}"));
}

TEST_F(SquadTask, RefusesWhatDoesNotFit) {
  const auto refusal = [&](const std::string& more) {
    return message_of<ConfigError>(
        [&] { make_task("squad", "{path: " + folder_.path().string() + more + "}", context()); });
  };
  EXPECT_THAT(refusal(", max_length: 64, doc_stride: 64"),
              AllOf(HasSubstr("doc_stride"), HasSubstr("max_length 64"), HasSubstr("overlap")));
  EXPECT_THAT(refusal(", max_length: 65, doc_stride: 8"), HasSubstr("at most 64 tokens"));
  EXPECT_THAT(refusal(", max_length: 32, doc_stride: 8, dev_articles: 0-9"),
              HasSubstr("has the articles 0-1"));
  const auto classifier = [](const Batch& batch) -> Outputs {
    return {{"logits", at::zeros({batch.sequences(), 2})}};
  };
  EXPECT_THAT(message_of<ConfigError>([&] { make()->evaluate({classifier}, nullptr); }),
              HasSubstr("head: question_answering"));
}

TEST_F(SquadTask, ScoresPredictionsOfARun) {
  const auto task = make_task("squad", "{}", {});
  ScoreOptions options;
  options.data = folder_.path() / "dev.json";
  options.predictions = folder_.write(
      "predictions.jsonl",
      R"({"set":"dev","index":0,"id":"a","outputs":{},"texts":{"float":"Bob.","quantized":""}})"
      "\n"
      R"({"set":"dev","index":1,"id":"b","outputs":{},"texts":{"float":"x","quantized":"y"}})"
      "\n");
  options.stage = "float";
  EXPECT_THAT(task->score(options), ElementsAre(Pair("f1", 1.0 / 3), Pair("exact_match", 1.0 / 3),
                                                Pair("missing", 1.0 / 3)));
  options.stage = "";
  EXPECT_EQ(task->score(options)[0].second, 0);  // quantized
  const auto part = make_task("squad", "{dev_articles: 0}", {});
  options.stage = "float";
  EXPECT_THAT(part->score(options), ElementsAre(Pair("f1", 1.0), Pair("exact_match", 1.0)));
}

// Six questions of which three have no answer, as Hugging Face's metric squad_v2 scores them; the
// figures follow by hand from evaluate-v2.0.py: ordered by probability, the three with an answer
// come first, the last of them at 0.3.
TEST_F(SquadTask, ScoresProbabilitiesOfNoAnswer) {
  json qas = json::array();
  std::string lines;
  json list = json::array();
  const double probabilities[] = {0.9, 0.1, 0.8, 0.2, 0.3, 0.95};
  for (int i = 0; i < 6; ++i) {
    const bool has_answer = probabilities[i] < 0.5;
    json answers = json::array();
    if (has_answer) answers.push_back({{"text", "x"}, {"answer_start", 0}});
    qas.push_back({{"id", std::to_string(i)}, {"question", "?"}, {"answers", answers}});
    list.push_back({{"id", std::to_string(i)},
                    {"prediction_text", "x"},
                    {"no_answer_probability", probabilities[i]}});
    lines += list.back().dump() + "\n";
  }
  const json root = {{"data", {{{"paragraphs", {{{"context", "x"}, {"qas", qas}}}}}}}};
  ScoreOptions options;
  options.data = folder_.write("six.json", root.dump());
  const auto task = make_task("squad", "{version_2: true}", {});
  const auto value = [&](const std::string& name) {
    for (const auto& [key, found] : task->score(options)) {
      if (key == name) return found;
    }
    return -1.0;
  };
  for (const auto& file : {folder_.write("p.jsonl", lines), folder_.write("p.json", list.dump())}) {
    options.predictions = file;
    options.no_answer_threshold = 1;
    EXPECT_DOUBLE_EQ(value("exact"), 0.5);
    EXPECT_DOUBLE_EQ(value("best_exact"), 1);
    EXPECT_DOUBLE_EQ(value("best_exact_thresh"), 0.3);
    options.no_answer_threshold = 0.85;  // two of the three become "no answer"
    EXPECT_DOUBLE_EQ(value("exact"), 5.0 / 6);
    EXPECT_DOUBLE_EQ(value("NoAns_exact"), 2.0 / 3);
  }
  EXPECT_THAT(message_of<ConfigError>([&] { make_task("squad", "{}", {})->score(options); }),
              HasSubstr("version_2=true"));
  options.predictions = folder_.write(
      "q.jsonl", R"({"id": "0", "prediction_text": "x", "no_answer_probability": 0.5})"
                 "\n"
                 R"({"id": "1", "prediction_text": "x"})");
  EXPECT_THAT(message_of<DataError>([&] { task->score(options); }),
              AllOf(HasSubstr("q.jsonl:2"), HasSubstr("has no \"no_answer_probability\"")));
  options.predictions = folder_.write(
      "r.jsonl", R"({"id": "0", "prediction_text": "x", "no_answer_probability": "high"})");
  EXPECT_THAT(message_of<DataError>([&] { task->score(options); }),
              HasSubstr("expected a number, found string"));
}

TEST_F(SquadTask, RefusesPredictionsThatDoNotFit) {
  const auto refusal = [&](const std::string& name, const std::string& content) {
    const auto task = make_task("squad", "{}", {});
    ScoreOptions options;
    options.data = folder_.path() / "dev.json";
    options.predictions = folder_.write(name, content);
    return message_of<DataError>([&] { task->score(options); });
  };
  EXPECT_THAT(refusal("p.json", R"({"z": "x"})"), HasSubstr("no answer to any question"));
  EXPECT_THAT(refusal("p.json", R"({"a": 3})"), HasSubstr("\"a\": expected the text"));
  EXPECT_THAT(refusal("p.json", "[]"), HasSubstr("expected an object"));
  EXPECT_THAT(refusal("p.jsonl", "{\"id\": \"a\"}\n"),
              AllOf(HasSubstr("p.jsonl:1"), HasSubstr("\"prediction_text\"")));
  const std::string line = "{\"id\": \"a\", \"prediction_text\": \"x\"}\n";
  EXPECT_THAT(refusal("p.jsonl", line + line), HasSubstr("p.jsonl:2"));

  ScoreOptions options;
  options.data = folder_.path() / "dev.json";
  options.predictions = folder_.write("p.json", R"({"a": "x"})");
  options.no_answer_file = folder_.write("na.json", R"({"a": 1})");
  const auto score = [&](const std::string& params) {
    make_task("squad", params, {})->score(options);
  };
  EXPECT_THAT(message_of<ConfigError>([&] { score("{}"); }), HasSubstr("version_2=true"));
  EXPECT_THAT(message_of<DataError>([&] { score("{version_2: true}"); }),
              HasSubstr("no number for the question with id b"));
}

TEST_F(SquadTask, RefusesLogitsThatDoNotFit) {
  const auto refusal = [&](const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
    const auto task = make_task("squad", "{}", {});
    ScoreOptions options;
    options.data = folder_.path() / "dev.json";
    options.predictions = folder_.path() / "p.safetensors";
    write_safetensors(options.predictions, tensors);
    return message_of<DataError>([&] { task->score(options); });
  };
  const at::Tensor logits = at::zeros({1, 4});
  EXPECT_THAT(refusal({{"end_logits", logits}}), HasSubstr("no tensor \"start_logits\""));
  EXPECT_THAT(refusal({{"start_logits", logits}, {"end_logits", at::zeros({1, 3})}}),
              AllOf(HasSubstr("\"end_logits\""), HasSubstr("[1, 4]")));
  EXPECT_THAT(refusal({{"start_logits", logits},
                       {"end_logits", logits},
                       {"offsets", at::zeros({1, 4, 2}, at::kShort).add(999).to(at::kShort)},
                       {"example_index", at::zeros({1}, at::kInt)}}),
              HasSubstr("do the two files belong together"));
}

}  // namespace
}  // namespace quell

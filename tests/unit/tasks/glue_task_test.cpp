#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cmath>

#include "framework/base/error.h"
#include "support.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class GlueTask : public testing::Test {
 protected:
  void SetUp() override {
    // Lengths in tokens: 3, 5, 4, 3.
    folder_.write("dev.tsv", "sentence\tlabel\ngood\t1\nnot so bad\t1\nrather awful\t0\nbad\t0\n");
    std::string train = "sentence\tlabel\n";
    for (int i = 0; i < 40; ++i) {
      train +=
          std::string(static_cast<size_t>(1 + i % 7), 'x') + " y\t" + std::to_string(i % 2) + "\n";
    }
    folder_.write("train.tsv", train);
  }
  std::unique_ptr<Task> make(const std::string& more = "", const std::string& name = "sst2") {
    return make_task("glue", "{name: " + name + ", path: " + folder_.path().string() + more + "}",
                     context());
  }
  TaskContext context() const { return {&tokenizer_, &config_, 0, 128, 50}; }

  // Class 1 for sequences of an odd number of tokens.
  static Outputs odd_lengths(const Batch& batch) {
    at::Tensor logits = at::zeros({batch.sequences(), 2});
    for (int64_t i = 0; i < batch.sequences(); ++i) {
      logits[i][1] = batch.length(i) % 2 == 1 ? 1.0 : -1.0;
    }
    return {{"logits", logits}};
  }

  TemporaryFolder folder_;
  WordTokenizer tokenizer_;
  json config_ = {{"id2label", {{"0", "negative"}, {"1", "positive"}}}};
};

TEST_F(GlueTask, TrainsOnLabelledExamples) {
  folder_.write("train.jsonl",
                "{\"sentence\": \"one two\", \"label\": 1}\n"
                "{\"sentence\": \"unknown\", \"label\": -1}\n"
                "{\"sentence\": \"three\", \"label\": 0}\n");
  const auto task = make(", train_file: train.jsonl, batch_size: 7");
  TrainingData* data = task->training();
  ASSERT_NE(data, nullptr);
  EXPECT_EQ(data->batch_size(), 7);
  EXPECT_EQ(data->examples(), 2);
  const Batch batch = data->batch(std::vector<int64_t>{1, 0});
  EXPECT_THAT(batch.offsets, ElementsAre(0, 3, 7));
  EXPECT_THAT(batch.example_ids, ElementsAre(1, 0));
  EXPECT_EQ(batch.labels[0].item<int64_t>(), 0);
  EXPECT_EQ(batch.labels[1].item<int64_t>(), 1);
  EXPECT_EQ(task->files().size(), 2u);
}

TEST_F(GlueTask, EvaluatesInTheOrderOfTheFile) {
  for (const char* more : {"", ", sort_by_length: false", ", batch_size: 1"}) {
    const Evaluation evaluation = make(more)->evaluate({odd_lengths}, nullptr);
    ASSERT_EQ(evaluation.predictions.size(), 4u);
    EXPECT_THAT(evaluation.metrics, ElementsAre(Pair("accuracy", 0.75)));
    const std::vector<float> chosen = {1, 1, -1, 1};
    for (int64_t i = 0; i < 4; ++i) {
      const Prediction& prediction = evaluation.predictions[i];
      EXPECT_EQ(prediction.set, "dev");
      EXPECT_EQ(prediction.index, i);
      EXPECT_EQ(prediction.label, i < 2 ? 1.0 : 0.0);
      EXPECT_THAT(prediction.outputs.at("logits"), ElementsAre(0.0f, chosen[i]));
    }
  }
}

TEST_F(GlueTask, ReportsProgressInSequences) {
  std::vector<std::pair<int64_t, int64_t>> seen;
  make(", batch_size: 3")->evaluate({odd_lengths}, [&](int64_t done, int64_t total) {
    seen.emplace_back(done, total);
  });
  // Two batches of 3 and 1 sequences run side by side: either may be done first.
  EXPECT_THAT(seen, ElementsAre(Pair(AnyOf(1, 3), 4), Pair(4, 4)));
}

TEST_F(GlueTask, AppliesTheLabelOrderOfTheModel) {
  config_ = {{"id2label", {{"0", "POSITIVE"}, {"1", "NEGATIVE"}}}};
  const Evaluation evaluation = make()->evaluate({odd_lengths}, nullptr);
  EXPECT_THAT(evaluation.metrics, ElementsAre(Pair("accuracy", 0.25)));
  EXPECT_EQ(evaluation.predictions[0].label, 0.0);  // "positive" is the model's class 0
}

TEST_F(GlueTask, CalibrationIsDrawnWithTheSeed) {
  CalibrationOptions options;
  options.samples = 10;
  const auto task = make(", batch_size: 4");
  const auto batches = task->calibration(options, 42);
  const auto indices = task->calibration_indices();
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[2].sequences(), 2);
  ASSERT_EQ(indices.size(), 10u);
  // The first word has 1 + index % 7 letters; the label is index % 2.
  for (int64_t i = 0; i < 10; ++i) {
    const Batch& batch = batches[i / 4];
    const int64_t row = batch.offsets[i % 4];
    EXPECT_EQ(batch.token_ids[row + 1].item<int64_t>(), 10 + 1 + indices[i] % 7);
    EXPECT_EQ(batch.labels[i % 4].item<int64_t>(), indices[i] % 2);
  }
  const auto again = make();
  again->calibration(options, 42);
  EXPECT_EQ(again->calibration_indices(), indices);
  again->calibration(options, 43);
  EXPECT_NE(again->calibration_indices(), indices);
}

TEST_F(GlueTask, CalibrationFromDevOrFile) {
  CalibrationOptions options;
  options.samples = 4;
  options.split = "dev";
  EXPECT_EQ(make()->calibration(options, 1)[0].sequences(), 4);
  options.split = "train";
  options.samples = 2;
  options.file = folder_.write("mine.jsonl", "{\"sentence\": \"a\"}\n{\"sentence\": \"b c\"}\n");
  const auto task = make();
  const auto batches = task->calibration(options, 1);
  EXPECT_EQ(batches[0].sequences(), 2);
  EXPECT_FALSE(batches[0].labels.defined());
  EXPECT_THAT(task->files(), ElementsAre(HasSubstr("dev.tsv"), HasSubstr("mine.jsonl")));
}

TEST_F(GlueTask, CalibrationPadding) {
  CalibrationOptions options;
  options.samples = 4;
  options.split = "dev";
  options.padding = Padding::kKeep;
  EXPECT_EQ(make(", max_length: 16")->calibration(options, 1)[0].tokens(), 4 * 16);
  options.pad_to = 8;
  const auto kept = make()->calibration(options, 1);
  EXPECT_EQ(kept[0].tokens(), 4 * 8);
  EXPECT_TRUE(kept[0].keeps_padding());
  options.padding = Padding::kDrop;
  const auto dropped = make()->calibration(options, 1);
  EXPECT_EQ(dropped[0].tokens(), 3 + 5 + 4 + 3);
  EXPECT_EQ(dropped[0].pad_to, 8);
  options.pad_to = 4;
  EXPECT_THAT(message_of<ConfigError>([&] { make()->calibration(options, 1); }),
              HasSubstr("calibration.pad_to 4: a sequence has 5 tokens"));
  options.padding = Padding::kKeep;
  EXPECT_THAT(message_of<ConfigError>([&] { make()->calibration(options, 1); }),
              HasSubstr("5 tokens does not fit into 4"));
}

TEST_F(GlueTask, CalibrationBatches) {
  CalibrationOptions options;
  options.samples = 10;
  options.batch_size = 1;
  options.batches = 3;
  const auto task = make();
  EXPECT_EQ(task->calibration(options, 1).size(), 3u);
  EXPECT_EQ(task->calibration_indices().size(), 3u);
  options.batches = 11;
  EXPECT_THAT(message_of<ConfigError>([&] { task->calibration(options, 1); }),
              HasSubstr("calibration.batches 11: there are only 10 batches"));
}

TEST_F(GlueTask, TooFewExamplesOrNoTrainingSplit) {
  CalibrationOptions options;
  EXPECT_THAT(message_of<ConfigError>([&] { make()->calibration(options, 1); }),
              AllOf(HasSubstr("calibration.samples 256"), HasSubstr("holds only 40 examples")));
  std::filesystem::remove(folder_.path() / "train.tsv");
  EXPECT_THAT(message_of<DataError>([&] { make()->calibration(options, 1); }),
              AllOf(HasSubstr("split: dev"), HasSubstr("file: ...")));
}

TEST_F(GlueTask, ModelMustFit) {
  TaskContext small = context();
  small.vocabulary_size = 49;
  const std::string yaml = "{name: sst2, path: " + folder_.path().string() + ", max_length: 32}";
  EXPECT_THAT(message_of<DataError>([&] { make_task("glue", yaml, small); }),
              HasSubstr("the tokenizer gives ids up to 49, but the model embeds only 49"));
  small = context();
  small.max_positions = 16;
  EXPECT_THAT(message_of<ConfigError>([&] { make_task("glue", yaml, small); }),
              HasSubstr("task.max_length 32: the model takes at most 16 tokens"));
  small = context();
  small.tokenizer = nullptr;
  EXPECT_THAT(message_of<DataError>([&] { make_task("glue", yaml, small); }),
              HasSubstr("needs the tokenizer of the model"));
}

TEST_F(GlueTask, WrongNumberOfLogits) {
  const auto three = [](const Batch& batch) {
    return Outputs{{"logits", at::zeros({batch.sequences(), 3})}};
  };
  EXPECT_THAT(message_of<Error>([&] { make()->evaluate({three}, nullptr); }),
              HasSubstr("the model gave 3 logits per sequence, sst2 needs 2"));
}

TEST_F(GlueTask, TextsAreCutToTheMaximumLength) {
  CalibrationOptions options;
  options.samples = 4;
  options.split = "dev";
  for (const Batch& batch : make(", max_length: 4")->calibration(options, 1)) {
    for (int64_t i = 0; i < batch.sequences(); ++i) EXPECT_LE(batch.length(i), 4);
  }
}

// As run_glue.py takes the smaller of its max_seq_length and the tokenizer's.
TEST_F(GlueTask, ModelMaxLengthOfTheTokenizerCutsTexts) {
  tokenizer_.most = 4;
  CalibrationOptions options;
  options.samples = 4;
  options.split = "dev";
  const auto task = make(", max_length: 100");
  for (const Batch& batch : task->calibration(options, 1)) {
    for (int64_t i = 0; i < batch.sequences(); ++i) EXPECT_LE(batch.length(i), 4);
  }
  EXPECT_THAT(task->notes(),
              ElementsAre(AllOf(HasSubstr("task.max_length 100"), HasSubstr("model_max_length"))));
  tokenizer_.most = 100;
  EXPECT_THAT(make(", max_length: 100")->notes(), testing::IsEmpty());
}

TEST_F(GlueTask, BothSetsOfMnli) {
  const std::string header = "index\tsentence1\tsentence2\tgold_label\n";
  folder_.write("dev_matched.tsv", header + "0\ta\tb c\tneutral\n1\ta\tb\tentailment\n");
  folder_.write("dev_mismatched.tsv", header + "0\ta b\tc\tcontradiction\n");
  config_ = {{"id2label", {{"0", "contradiction"}, {"1", "entailment"}, {"2", "neutral"}}}};
  const auto always_contradiction = [](const Batch& batch) {
    EXPECT_EQ(batch.segment_ids[batch.tokens() - 1].item<int64_t>(), 1);
    at::Tensor logits = at::zeros({batch.sequences(), 3});
    logits.select(1, 0).fill_(1.0);
    return Outputs{{"logits", logits}};
  };
  const Evaluation evaluation = make("", "mnli")->evaluate({always_contradiction}, nullptr);
  EXPECT_THAT(evaluation.metrics,
              ElementsAre(Pair("accuracy_matched", 0.0), Pair("accuracy_mismatched", 1.0)));
  EXPECT_EQ(evaluation.predictions[0].label, 2.0);
  EXPECT_EQ(evaluation.predictions[2].set, "dev_mismatched");
  EXPECT_EQ(evaluation.predictions[2].index, 0);
}

TEST_F(GlueTask, Regression) {
  const std::string header = "sentence1\tsentence2\tscore\n";
  folder_.write("dev.tsv", header + "a\tb\t1.0\na b\tc\t2.0\na b c\td e\t5.0\n");
  config_ = {{"id2label", {{"0", "LABEL_0"}}}};
  const auto lengths = [](const Batch& batch) {
    at::Tensor logits = at::zeros({batch.sequences(), 1});
    for (int64_t i = 0; i < batch.sequences(); ++i) logits[i][0] = batch.length(i);
    return Outputs{{"logits", logits}};
  };
  const auto task = make("", "stsb");
  const Evaluation evaluation = task->evaluate({lengths}, nullptr);
  ASSERT_EQ(evaluation.metrics.size(), 2u);
  EXPECT_EQ(evaluation.metrics[0].first, "pearson");
  // Lengths 5, 6, 8 against 1, 2, 5: numpy.corrcoef.
  EXPECT_NEAR(evaluation.metrics[0].second, 0.9958705948858224, 1e-12);
  EXPECT_NEAR(evaluation.metrics[1].second, 1.0, 1e-12);
  CalibrationOptions options;
  options.samples = 3;
  options.split = "dev";
  EXPECT_EQ(task->calibration(options, 1)[0].labels.scalar_type(), at::kFloat);
  // All three cut to 5: predictions hold what metrics were computed of.
  const Evaluation cut = make(", clamp_scores: true", "stsb")->evaluate({lengths}, nullptr);
  for (const auto& prediction : cut.predictions) {
    EXPECT_THAT(prediction.outputs.at("logits"), ElementsAre(5.0F));
  }
  EXPECT_THROW(make(", clamp_scores: true", "sst2"), ConfigError);
}

TEST_F(GlueTask, NotesWhatWasLeftOut) {
  folder_.write("dev.tsv", "1\t2\t3\tbroken\n1\t2\t3\tq\tr\t1\n");
  config_ = json::object();
  EXPECT_THAT(
      make("", "qqp")->notes(),
      ElementsAre(HasSubstr("left out 1 rows with a wrong number of fields, first line 1")));
}

TEST_F(GlueTask, UnknownNamesAreConfigurationErrors) {
  EXPECT_THROW(make("", "sst3"), ConfigError);
  EXPECT_THROW(make(", max_lenght: 3"), ConfigError);
  EXPECT_THROW(make(", batch_size: 0"), ConfigError);
}

}  // namespace
}  // namespace quell

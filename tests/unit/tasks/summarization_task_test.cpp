#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>

#include "framework/base/error.h"
#include "framework/json/json.h"
#include "support.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// Words of n letters are the id 10 + n, which reads "wn".
class TextTokenizer : public WordTokenizer {
 public:
  std::vector<Encoding> encode(std::string_view text, std::optional<std::string_view> pair,
                               const TokenizerOptions& options) const override {
    auto windows = WordTokenizer::encode(text, pair, options);
    TokenizerOptions whole = options;
    whole.max_length = std::nullopt;
    const bool cut =
        WordTokenizer::encode(text, pair, whole).front().ids.size() > windows.front().ids.size();
    if (cut && options.overflow) windows.push_back(windows.front());
    return windows;
  }
  std::string decode(const std::vector<int64_t>& ids, bool skip_special_tokens) const override {
    EXPECT_TRUE(skip_special_tokens);
    std::string text;
    for (const int64_t id : ids) {
      if (id > 10) text += " w" + std::to_string(id - 10);
    }
    return text;
  }
};

constexpr int64_t kStart = 2, kEnd = 3;

// The last words of each article, at most two, between start and end.
std::vector<GeneratedSequence> last_words(const Batch& batch, const GenerationOptions&) {
  std::vector<GeneratedSequence> written(batch.sequences());
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    written[i].ids = {kStart};
    const int64_t words = batch.valid_lengths[i] - 2;
    for (int64_t k = std::max<int64_t>(0, words - 2); k < words; ++k) {
      written[i].ids.push_back(batch.token_ids[batch.offsets[i] + 1 + k].item<int64_t>());
    }
    written[i].ids.push_back(kEnd);
  }
  return written;
}

class SummarizationTask : public testing::Test {
 protected:
  void SetUp() override {
    folder_.write("validation.csv",
                  "id,document,summary\n"
                  "x1,a bb ccc,w2 w3\n"
                  "x2,a bb ccc dddd eeeee,w4 w4\n"
                  "x3,a,w1\n");
    std::string train;
    for (int i = 0; i < 20; ++i) {
      train += json{{"text", std::string(1 + i % 7, 'x') + " yy"}}.dump() + "\n";
    }
    folder_.write("train.jsonl", train);
  }
  std::unique_ptr<Task> make(const std::string& more = "") {
    return make_task("summarization",
                     "{path: " + folder_.path().string() + ", max_source_length: 64" + more + "}",
                     context());
  }
  TaskContext context() const {
    TaskContext context{&tokenizer_, &config_, 0, 128, 60};
    context.generation = GenerationOptions{};
    return context;
  }
  // The settings that generate() is called with.
  GenerationOptions settings(const std::string& more) {
    GenerationOptions seen;
    Predictor predictor;
    predictor.generate = [&](const Batch& batch, const GenerationOptions& options) {
      seen = options;
      return last_words(batch, options);
    };
    make(", batch_size: 10" + more)->evaluate(predictor, nullptr);
    return seen;
  }

  TemporaryFolder folder_;
  TextTokenizer tokenizer_;
  json config_ = json::object();
  Predictor predictor_{{}, last_words};
};

TEST_F(SummarizationTask, EvaluatesInTheOrderOfTheFile) {
  for (const char* more : {"", ", batch_size: 1", ", batch_size: 2"}) {
    const Evaluation evaluation = make(more)->evaluate(predictor_, nullptr);
    ASSERT_EQ(evaluation.predictions.size(), 3u);
    const char* texts[] = {"w2 w3", "w4 w5", "w1"};
    for (int64_t i = 0; i < 3; ++i) {
      const Prediction& prediction = evaluation.predictions[i];
      EXPECT_EQ(prediction.set, "dev");
      EXPECT_EQ(prediction.index, i);
      EXPECT_EQ(prediction.id, fmt::format("x{}", i + 1));
      EXPECT_EQ(prediction.text, texts[i]);
      EXPECT_THAT(prediction.outputs, IsEmpty());
      EXPECT_FALSE(prediction.label);
    }
    // rouge1 1, 1/2 and 1; rouge2 1, 0 and 0 (a single word has no pairs); 4, 4 and 3 tokens.
    ASSERT_EQ(evaluation.metrics.size(), 5u);
    EXPECT_EQ(evaluation.metrics[0].first, "rouge1");
    EXPECT_DOUBLE_EQ(evaluation.metrics[0].second, 2.5 / 3);
    EXPECT_EQ(evaluation.metrics[1].first, "rouge2");
    EXPECT_DOUBLE_EQ(evaluation.metrics[1].second, 1.0 / 3);
    EXPECT_EQ(evaluation.metrics[2].first, "rougeL");
    EXPECT_EQ(evaluation.metrics[3].first, "rougeLsum");
    EXPECT_EQ(evaluation.metrics[4].first, "gen_len");
    EXPECT_DOUBLE_EQ(evaluation.metrics[4].second, 11.0 / 3);
  }
}

TEST_F(SummarizationTask, ReportsProgressInArticles) {
  std::vector<std::pair<int64_t, int64_t>> seen;
  make(", batch_size: 2")->evaluate(predictor_, [&](int64_t done, int64_t total) {
    seen.emplace_back(done, total);
  });
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[1], std::pair(int64_t{3}, int64_t{3}));
}

TEST_F(SummarizationTask, SettingsOfGeneration) {
  EXPECT_EQ(settings("").num_beams, 1);
  EXPECT_EQ(settings("").max_length, 20);
  EXPECT_EQ(settings(", name: xsum").num_beams, 6);
  EXPECT_EQ(settings(", name: xsum, max_length: 30").max_length, 30);
  EXPECT_EQ(settings(", name: cnn_dailymail, max_length: 50").num_beams, 4);
  const GenerationOptions all = settings(
      ", num_beams: 3, min_length: 5, length_penalty: 2.0, no_repeat_ngram_size: 3, "
      "early_stopping: true");
  EXPECT_EQ(all.num_beams, 3);
  EXPECT_EQ(all.min_length, 5);
  EXPECT_EQ(all.length_penalty, 2.0);
  EXPECT_EQ(all.no_repeat_ngram_size, 3);
  EXPECT_EQ(all.early_stopping, EarlyStopping::kTrue);
  EXPECT_EQ(settings(", early_stopping: never").early_stopping, EarlyStopping::kNever);
}

// As in the library, whose models come with a min_length that a short max_length leaves behind.
TEST_F(SummarizationTask, AMinLengthThatIsTooLongIsNoted) {
  EXPECT_EQ(settings(", min_length: 30").min_length, 30);
  EXPECT_THAT(make(", min_length: 30")->notes(),
              ElementsAre(HasSubstr("min_length 30 is more than max_length 20")));
  EXPECT_THAT(make(", min_length: 20")->notes(), IsEmpty());
}

TEST_F(SummarizationTask, NewTokensWinOverLengths) {
  EXPECT_EQ(settings(", max_new_tokens: 6, max_length: 15").max_length, 7);
  EXPECT_EQ(settings(", min_new_tokens: 3, min_length: 9").min_length, 4);
  // Also those of the model, as in the library: the experiment is told.
  TaskContext context = this->context();
  context.generation->max_new_tokens = 8;
  context.generation->min_new_tokens = 2;
  const std::string start = "{path: " + folder_.path().string() + ", max_source_length: 64";
  GenerationOptions seen;
  const Predictor predictor{{}, [&](const Batch& batch, const GenerationOptions& options) {
                              seen = options;
                              return last_words(batch, options);
                            }};
  const auto task = make_task("summarization", start + ", max_length: 15, min_length: 9}", context);
  task->evaluate(predictor, nullptr);
  EXPECT_EQ(seen.max_length, 9);
  EXPECT_EQ(seen.min_length, 3);
  EXPECT_THAT(task->notes(),
              ElementsAre(HasSubstr("task.max_length has no effect: the model sets max_new_tokens"),
                          HasSubstr("set task.min_new_tokens")));
  const auto said = make_task("summarization", start + ", max_new_tokens: 4}", context);
  said->evaluate(predictor, nullptr);
  EXPECT_EQ(seen.max_length, 5);
  EXPECT_THAT(said->notes(), IsEmpty());
}

TEST_F(SummarizationTask, WritesTheNextBestTextsToo) {
  const Predictor predictor{{}, [&](const Batch& batch, const GenerationOptions& options) {
                              EXPECT_EQ(options.num_return_sequences, 3);
                              std::vector<GeneratedSequence> written;
                              for (const GeneratedSequence& best : last_words(batch, options)) {
                                written.push_back(best);
                                written.push_back({{kStart, 11, kEnd}});
                                written.push_back({{kStart, 12, 12, 12, kEnd}});
                              }
                              return written;
                            }};
  const auto task = make(", num_beams: 4, num_return_sequences: 3, batch_size: 2");
  const Evaluation evaluation = task->evaluate(predictor, nullptr);
  EXPECT_EQ(evaluation.predictions[1].text, "w4 w5");
  EXPECT_THAT(evaluation.predictions[1].more_texts, ElementsAre("w1", "w2 w2 w2"));
  // Metrics are those of the best alone.
  EXPECT_EQ(evaluation.metrics, make()->evaluate(predictor_, nullptr).metrics);
  EXPECT_THAT(message_of<ConfigError>([&] { make(", num_beams: 2, num_return_sequences: 3"); }),
              HasSubstr("task.num_return_sequences 3: is more than num_beams 2"));
}

TEST_F(SummarizationTask, CalibrationTargetsAreWhatTheNetworkWrites) {
  CalibrationOptions options;
  options.samples = 10;
  const auto task = make(", batch_size: 4");
  auto batches = task->calibration(options, 42);
  ASSERT_EQ(batches.size(), 3u);
  ASSERT_EQ(task->calibration_indices().size(), 10u);
  task->complete_calibration(batches, predictor_);
  for (size_t i = 0; i < 10; ++i) {
    const Batch& batch = batches[i / 4];
    const auto row = static_cast<size_t>(i % 4);
    const int64_t word = 10 + 1 + task->calibration_indices()[i] % 7;
    EXPECT_EQ(batch.token_ids[batch.offsets[row] + 1].item<int64_t>(), word);
    ASSERT_EQ(batch.decoder_offsets[row + 1] - batch.decoder_offsets[row], 4);
    const at::Tensor ids = batch.decoder_token_ids;
    EXPECT_EQ(ids[batch.decoder_offsets[row]].item<int64_t>(), kStart);
    EXPECT_EQ(ids[batch.decoder_offsets[row] + 1].item<int64_t>(), word);
    EXPECT_EQ(ids[batch.decoder_offsets[row] + 3].item<int64_t>(), kEnd);
    EXPECT_EQ(batch.decoder_valid_lengths[row], 4);
  }
}

TEST_F(SummarizationTask, CalibrationKeepsPadding) {
  CalibrationOptions options;
  options.samples = 3;
  options.split = "dev";
  options.padding = Padding::kKeep;
  const auto task = make();
  auto batches = task->calibration(options, 1);
  task->complete_calibration(batches, predictor_);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].tokens(), 3 * 64);
  EXPECT_THAT(batches[0].decoder_offsets, ElementsAre(0, 4, 8, 12));
  EXPECT_THAT(batches[0].decoder_valid_lengths, testing::UnorderedElementsAre(4, 4, 3));
}

TEST_F(SummarizationTask, PartsOfAFile) {
  const auto task = make(", dev_rows: 1-2, train_file: validation.csv, train_rows: [0]");
  EXPECT_EQ(task->evaluate(predictor_, nullptr).predictions.front().index, 1);
  CalibrationOptions options;
  options.samples = 1;
  EXPECT_EQ(task->calibration(options, 1)[0].sequences(), 1);
  EXPECT_THAT(task->calibration_indices(), ElementsAre(0));
  EXPECT_THAT(task->files(), ElementsAre(HasSubstr("validation.csv")));
  options.samples = 2;
  EXPECT_THAT(message_of<ConfigError>([&] { task->calibration(options, 1); }),
              HasSubstr("holds only 1 examples"));
  EXPECT_THAT(message_of<ConfigError>([&] { make(", dev_rows: 1-5"); }), HasSubstr("has 3 rows"));
}

TEST_F(SummarizationTask, OverlongArticlesAreCut) {
  const auto task = make_task(
      "summarization", "{path: " + folder_.path().string() + ", max_source_length: 5}", context());
  EXPECT_THAT(task->notes(), ElementsAre(HasSubstr("1 of 3 articles are longer than "
                                                   "max_source_length 5 and are cut")));
  EXPECT_THAT(make()->notes(), IsEmpty());
}

TEST_F(SummarizationTask, SourcePrefix) {
  const auto task = make(", source_prefix: 'summarize: ', dev_rows: 2");
  int64_t tokens = 0;
  Predictor predictor;
  predictor.generate = [&](const Batch& batch, const GenerationOptions& options) {
    tokens = batch.tokens();
    return last_words(batch, options);
  };
  EXPECT_EQ(task->evaluate(predictor, nullptr).predictions[0].text, "w10 w1");
  EXPECT_EQ(tokens, 4);
}

TEST_F(SummarizationTask, Mistakes) {
  TaskContext silent = context();
  silent.generation.reset();
  const std::string yaml = "{path: " + folder_.path().string() + "}";
  EXPECT_THAT(message_of<ConfigError>([&] { make_task("summarization", yaml, silent); }),
              AllOf(HasSubstr("the model writes no text"), HasSubstr("BART")));
  EXPECT_THAT(message_of<ConfigError>([&] { make_task("summarization", yaml, context()); }),
              HasSubstr("task.max_source_length 1024: the model takes at most 128 tokens"));
  TaskContext mute = context();
  mute.tokenizer = nullptr;
  EXPECT_THAT(message_of<DataError>([&] { make_task("summarization", yaml, mute); }),
              HasSubstr("needs the tokenizer"));
  EXPECT_THAT(message_of<ConfigError>([&] { make(", name: cnn_dailymail"); }),
              HasSubstr("task.max_length 142: the model writes at most 128 tokens"));
  EXPECT_THAT(message_of<DataError>([&] { make(", dev_file: none.csv"); }),
              HasSubstr("task.dev_file: no file \"none.csv\""));
  EXPECT_THAT(message_of<ConfigError>(
                  [&] { make_task("summarization", "{max_source_length: 64}", context()); }),
              HasSubstr("task.path: name the folder"));
  std::filesystem::remove(folder_.path() / "train.jsonl");
  EXPECT_THAT(message_of<DataError>([&] { make()->calibration({}, 1); }),
              AllOf(HasSubstr("no train file: looked for train.jsonl"), HasSubstr("split: dev")));
}

class SummarizationScore : public SummarizationTask {
 protected:
  Metrics score(const std::string& name, const std::string& predictions,
                const std::string& more = "", const std::string& stage = "") {
    const auto task = make_task("summarization", "{" + more + "}", {});
    ScoreOptions options;
    options.predictions = folder_.write(name, predictions);
    options.data = folder_.path() / "validation.csv";
    options.stage = stage;
    return task->score(options);
  }
  std::string error(const std::string& name, const std::string& predictions) {
    return message_of<DataError>([&] { score(name, predictions); });
  }
};

TEST_F(SummarizationScore, Formats) {
  const char* files[][2] = {
      {"lines.txt", "w2 w3\nw4 w5\nw1\n"},
      {"order.jsonl",
       "{\"prediction\": \"w2 w3\"}\n{\"summary\": \"w4 w5\"}\n"
       "{\"prediction\": \"w1\"}\n"},
      {"ids.jsonl",
       "{\"id\": \"x3\", \"summary\": \"w1\"}\n{\"id\": \"x1\", \"summary\": \"w2 w3\"}\n"
       "{\"id\": \"x2\", \"summary\": \"w4 w5\"}\n"},
      {"run.jsonl",
       "{\"set\":\"dev\",\"index\":1,\"id\":\"x2\",\"outputs\":{\"float\":{}},"
       "\"texts\":{\"float\":\"w4 w5\"}}\n"
       "{\"set\":\"dev\",\"index\":0,\"texts\":{\"float\":\"w2 w3\"}}\n"
       "{\"set\":\"dev\",\"index\":2,\"texts\":{\"float\":\"w1\"}}\n"},
  };
  for (const auto& [name, content] : files) {
    const Metrics metrics = score(name, content);
    ASSERT_EQ(metrics.size(), 4u) << name;
    EXPECT_DOUBLE_EQ(metrics[0].second, 2.5 / 3) << name;
    EXPECT_DOUBLE_EQ(metrics[1].second, 1.0 / 3) << name;
  }
  EXPECT_DOUBLE_EQ(score("part.txt", "w4 w4\n", "dev_rows: 1")[0].second, 1);
  EXPECT_DOUBLE_EQ(score("empty.txt", "\n\nw1\n")[0].second, 1.0 / 3);
}

TEST_F(SummarizationScore, Stages) {
  std::string lines;
  for (int i = 0; i < 3; ++i) {
    lines += json{{"index", i}, {"texts", {{"float", "w9"}, {"quantized", "w1"}}}}.dump() + "\n";
  }
  EXPECT_DOUBLE_EQ(score("p.jsonl", lines)[0].second, 1.0 / 3);
  EXPECT_DOUBLE_EQ(score("p.jsonl", lines, "", "float")[0].second, 0);
  EXPECT_THAT(message_of<ConfigError>([&] { score("p.jsonl", lines, "", "flat"); }),
              HasSubstr("no stage \"flat\""));
}

TEST_F(SummarizationScore, StemmerAndSentences) {
  folder_.write("validation.csv", "summary\n\"He is running. She walked away.\"\n");
  EXPECT_DOUBLE_EQ(score("p.txt", "He is runs. She walks away.\n")[0].second, 1);
  EXPECT_LT(score("p.txt", "He is runs.\n", "use_stemmer: false")[0].second,
            score("p.txt", "He is runs.\n")[0].second);
  // In another order, only sentences of their own are found.
  const std::string swapped = "She walked away. He is running.\n";
  EXPECT_DOUBLE_EQ(score("p.txt", swapped)[3].second, 1);
  EXPECT_DOUBLE_EQ(score("p.txt", swapped, "split_sentences: false")[3].second, 0.5);
}

// "a b" of "a b c d": two of two words and one of one pair, out of four and three.
TEST_F(SummarizationScore, PrecisionAndRecall) {
  folder_.write("validation.csv", "summary\na b c d\n");
  const Metrics metrics = score("p.txt", "a b\n", "precision_and_recall: true");
  const std::map<std::string, double> values(metrics.begin(), metrics.end());
  ASSERT_EQ(values.size(), 12u);
  EXPECT_EQ(metrics[0].first, "rouge1");
  EXPECT_DOUBLE_EQ(metrics[0].second, 2.0 / 3);
  EXPECT_DOUBLE_EQ(values.at("rouge1_precision"), 1);
  EXPECT_DOUBLE_EQ(values.at("rouge1_recall"), 1.0 / 2);
  EXPECT_DOUBLE_EQ(values.at("rouge2_precision"), 1);
  EXPECT_DOUBLE_EQ(values.at("rouge2_recall"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(values.at("rougeL_recall"), 1.0 / 2);
  EXPECT_DOUBLE_EQ(values.at("rougeLsum_recall"), 1.0 / 2);
}

TEST_F(SummarizationScore, EmptyReferences) {
  folder_.write("validation.csv", "id,summary\n1,w1\n2,\n3,w3\n");
  // A line for every row, or none for those that a run leaves out.
  EXPECT_DOUBLE_EQ(score("a.txt", "w1\nw2\nw3\n")[0].second, 2.0 / 3);
  EXPECT_DOUBLE_EQ(score("b.jsonl",
                         "{\"index\": 0, \"summary\": \"w1\"}\n"
                         "{\"index\": 2, \"summary\": \"w3\"}\n")[0]
                       .second,
                   1);
}

TEST_F(SummarizationScore, FilesThatDoNotFitTogether) {
  EXPECT_THAT(error("a.txt", "w1\n"), AllOf(HasSubstr("2 of the 3 examples"),
                                            HasSubstr("first row 1"), HasSubstr("--set dev_rows")));
  EXPECT_THAT(error("b.txt", "1\n2\n3\n4\n"), HasSubstr("b.txt:4: more summaries than the 3"));
  EXPECT_THAT(
      error("c.jsonl", "{\"index\": 0, \"summary\": \"\"}\n{\"index\": 0, \"summary\": \"\"}\n"),
      AllOf(HasSubstr("c.jsonl:2: a second summary"), HasSubstr("c.jsonl:1")));
  EXPECT_THAT(error("d.jsonl", "{\"index\": 7, \"summary\": \"\"}\n"),
              HasSubstr("index 7 is no example"));
  EXPECT_THAT(error("e.jsonl", "{\"id\": \"y\", \"summary\": \"\"}\n"),
              HasSubstr("the id \"y\" is no example of"));
  EXPECT_THAT(error("f.jsonl", "{\"text\": \"\"}\n"), HasSubstr("f.jsonl:1: expected a text"));
  EXPECT_THAT(error("g.jsonl", "{\"summary\": \"w1\"}\n{\"summary\": \"w"),
              HasSubstr("g.jsonl:2:"));
  folder_.write("validation.csv", "id,summary\n1,a\n1,b\n");
  EXPECT_THAT(error("h.jsonl", "{\"id\": 1, \"summary\": \"\"}\n"),
              HasSubstr("the id \"1\" appears more than once in"));
}

}  // namespace
}  // namespace quell

// The tasks perplexity and multiple_choice with a model whose likelihoods are known.
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cmath>
#include <numbers>

#include "framework/base/error.h"
#include "support.h"
#include "tasks/data/choice_encoding.h"
#include "tasks/data/text_encoder.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr int64_t kBos = 1;

// A token for each byte, behind a start token that reads "<s>".
class ByteTokenizer final : public WordTokenizer {
 public:
  std::vector<Encoding> encode(std::string_view text, std::optional<std::string_view>,
                               const TokenizerOptions& options) const override {
    Encoding encoding;
    if (options.special_tokens && adds_bos) encoding.ids.push_back(kBos);
    for (size_t i = 0; i < text.size(); ++i) {
      const bool is_bos = text.substr(i, 3) == "<s>";
      encoding.ids.push_back(is_bos ? kBos : static_cast<unsigned char>(text[i]));
      if (is_bos) i += 2;
    }
    return {encoding};
  }
  std::string decode(const std::vector<int64_t>& ids, bool) const override {
    return ids == std::vector<int64_t>{kBos} ? "<s>" : "";
  }
  int64_t largest_id() const override { return 255; }
  std::optional<int64_t> bos_id() const override { return bos; }
  bool adds_bos = true;
  std::optional<int64_t> bos = kBos;
};

// Of every token, whatever stands before it; the letter "a" alone is the likeliest.
double likelihood_of(int64_t id) { return id == 'a' ? -0.125 : -0.25 * static_cast<double>(id); }

Outputs predict(const Batch& batch) {
  at::Tensor found = at::empty({batch.tokens()}), best = at::empty({batch.tokens()});
  for (int64_t row = 0; row < batch.tokens(); ++row) {
    const int64_t id = batch.scored_ids[row].item<int64_t>();
    found[row] = id < 0 ? 0 : likelihood_of(id);
    best[row] = id < 0 ? 0 : -0.125;
  }
  Outputs outputs{{"log_likelihood", found}};
  if (batch.scores_best) outputs["best_log_likelihood"] = best;
  return outputs;
}

double likelihood_of(const std::string& text) {
  double sum = 0;
  for (const char c : text) sum += likelihood_of(static_cast<unsigned char>(c));
  return sum;
}

class LanguageTasks : public testing::Test {
 protected:
  TaskContext context(const Tokenizer* tokenizer = nullptr) const {
    TaskContext context{tokenizer != nullptr ? tokenizer : &tokenizer_, &config_, 0, 64, 256};
    context.is_language_model = true;
    return context;
  }
  Evaluation perplexity(const std::string& text, const std::string& more) {
    const auto file = folder_.write("text.txt", text);
    return make_task("perplexity", "{dev_file: " + file.string() + more + "}", context())
        ->evaluate({predict}, nullptr);
  }
  std::unique_ptr<Task> choice(const std::string& rows, const std::string& more) {
    const auto file = folder_.write("items.jsonl", rows);
    return make_task("multiple_choice", "{dev_file: " + file.string() + more + "}", context());
  }

  TemporaryFolder folder_;
  ByteTokenizer tokenizer_;
  json config_ = {{"max_position_embeddings", 64}};
};

TEST_F(LanguageTasks, PerplexityOfWindowsIsPerPredictedToken) {
  // <s> a b c d e: windows of 3 are <s> a b | c d e; each one's first token is not predicted.
  const double sum = likelihood_of("abde");
  for (const char* more : {"", ", batch_size: 1", ", unit: whole"}) {
    const Evaluation found = perplexity("abcde", std::string(", length: 3") + more);
    ASSERT_EQ(found.metrics.size(), 1u);
    EXPECT_EQ(found.metrics[0].first, "perplexity");
    EXPECT_NEAR(found.metrics[0].second, std::exp(-sum / 4), 1e-9 * std::exp(-sum / 4));
    ASSERT_EQ(found.predictions.size(), 2u);
    EXPECT_THAT(found.predictions[1].outputs.at("log_likelihood"),
                ElementsAre(static_cast<float>(likelihood_of("de"))));
  }
  const auto metric = [&](const std::string& more) {
    return perplexity("abcde", more).metrics[0].second;
  };
  // Without start token: a b c | d e is dropped.
  EXPECT_NEAR(std::log(metric(", length: 3, bos: never")), -likelihood_of("bc") / 2, 1e-9);
  // <s> a b | <s> c d: both letters of each.
  EXPECT_NEAR(std::log(metric(", length: 3, bos_in_every_window: true")),
              -likelihood_of("abcd") / 4, 1e-9);
  EXPECT_NEAR(std::log(metric(", length: 3, max_windows: 1")), -likelihood_of("ab") / 2, 1e-9);
  // Windows that overlap: each token once.
  EXPECT_NEAR(std::log(metric(", kind: strided, length: 3, stride: 1")),
              -likelihood_of("abcde") / 5, 1e-9);
}

TEST_F(LanguageTasks, LinesAreJoinedAsHuggingFaceHasThem) {
  // "ab\n", "" for a blank line, "c": with two line ends between them.
  const std::string joined = "ab\n\n\n\n\nc";
  const Evaluation found = perplexity("ab\n \nc", ", length: 9");
  EXPECT_NEAR(std::log(found.metrics[0].second), -likelihood_of(joined) / 8, 1e-9);
  const Evaluation whole = perplexity("ab\n \nc", ", length: 7, unit: whole");
  EXPECT_NEAR(std::log(whole.metrics[0].second), -likelihood_of("ab\n \nc") / 6, 1e-9);
}

TEST_F(LanguageTasks, RollingCountsWordsAndBytesOfTheText) {
  // The start token of the tokenizer is predicted behind the prefix token; two pages, each of 6
  // pieces between blanks, two of them empty, and of 10 bytes.
  const Evaluation found = perplexity(" = a = \nx\n = b = \ny\n", ", kind: rolling, length: 4");
  const double sum = likelihood_of(" = a = \nx\n = b = \ny\n") + 2 * likelihood_of(kBos);
  ASSERT_EQ(found.metrics.size(), 3u);
  EXPECT_EQ(found.predictions.size(), 2u);
  EXPECT_NEAR(std::log(found.metrics[0].second), -sum / 12, 1e-9);
  EXPECT_NEAR(std::log(found.metrics[1].second), -sum / 20, 1e-9);
  EXPECT_NEAR(found.metrics[2].second, -sum / 20 / std::numbers::ln2, 1e-9);
  EXPECT_EQ(found.predictions[0].hashes.size(), 3u);
  // The old rule adds none.
  const Evaluation old = perplexity(" = a = \nx\n = b = \ny\n", ", kind: rolling, bos: never");
  EXPECT_NEAR(std::log(old.metrics[1].second), -likelihood_of(" = a = \nx\n = b = \ny\n") / 20,
              1e-9);
}

TEST_F(LanguageTasks, PerplexitySaysWhatIsWrong) {
  const auto data_error = [&](const std::string& text, const std::string& more) {
    return message_of<DataError>([&] { perplexity(text, more); });
  };
  EXPECT_THAT(data_error(" \n\n", ""), AllOf(HasSubstr("text.txt"), HasSubstr("holds no text")));
  EXPECT_THAT(data_error("ab", ", length: 8"),
              AllOf(HasSubstr("has 3 tokens, but a window 8"), HasSubstr("task.length to 3")));
  const auto config_error = [&](const std::string& more) {
    return message_of<ConfigError>([&] { perplexity("abcdefgh", more); });
  };
  EXPECT_THAT(config_error(", length: 65"), HasSubstr("the model takes at most 64 tokens"));
  EXPECT_THAT(config_error(", stride: 2"), HasSubstr("kind: strided"));
  EXPECT_THAT(config_error(", kind: strided, length: 4, stride: 5"), HasSubstr("more than length"));
  EXPECT_THAT(config_error(", prefix_token: 256"), HasSubstr("embeds only 256"));
  EXPECT_THAT(config_error(", bos_in_every_window: true, bos: never"), HasSubstr("contradicts"));
  const auto file = folder_.write("rows.jsonl", R"({"txt": "a"})");
  EXPECT_THAT(message_of<DataError>(
                  [&] { make_task("perplexity", "{dev_file: " + file.string() + "}", context()); }),
              AllOf(HasSubstr("rows.jsonl:1"), HasSubstr("txt"), HasSubstr("task.text_column")));
  TaskContext small = context();
  small.vocabulary_size = 200;
  EXPECT_THAT(message_of<DataError>(
                  [&] { make_task("perplexity", "{dev_file: " + file.string() + "}", small); }),
              HasSubstr("embeds only 200"));
  TaskContext encoder = context();
  encoder.is_language_model = false;
  EXPECT_THAT(message_of<ConfigError>(
                  [&] { make_task("perplexity", "{dev_file: " + file.string() + "}", encoder); }),
              HasSubstr("no decoder"));
}

TEST_F(LanguageTasks, CalibrationAsksForTheNextToken) {
  const auto file = folder_.write("text.txt", "abcdefghijklmnopq");
  const auto task = make_task("perplexity",
                              "{train_file: " + file.string() + ", dev_file: " + file.string() +
                                  ", length: 4, calibration_length: 3, bos: never}",
                              context());
  CalibrationOptions options;
  options.samples = 3;
  const auto batches = task->calibration(options, 1);
  ASSERT_EQ(batches.size(), 1u);
  const Batch& batch = batches[0];
  EXPECT_THAT(batch.offsets, ElementsAre(0, 3, 6, 9));
  for (int64_t row = 0; row < 9; ++row) {
    const int64_t next = batch.scored_ids[row].item<int64_t>();
    EXPECT_EQ(next, row % 3 == 2 ? -1 : batch.token_ids[row + 1].item<int64_t>());
  }
  EXPECT_EQ(task->calibration_indices().size(), 3u);
  options.samples = 6;
  EXPECT_THAT(message_of<ConfigError>([&] { task->calibration(options, 1); }),
              HasSubstr("only 5 examples"));
}

TEST_F(LanguageTasks, ChoicesAreComparedAsTheyAreByCharactersAndByBytes) {
  // " b" is likelier than " bb" as a whole, but not per character.
  const std::string row =
      json{{"goal", "g"}, {"sol1", "b"}, {"sol2", "bb"}, {"label", 1}}.dump() + "\n" +
      json{{"goal", "gg"}, {"sol1", "\u00e9"}, {"sol2", "aa"}, {"label", 1}}.dump() + "\n";
  for (const char* more : {"", ", share_contexts: false", ", batch_size: 1"}) {
    const auto task = choice(row, std::string(", name: piqa") + more);
    const Evaluation found = task->evaluate({predict}, nullptr);
    EXPECT_THAT(found.metrics,
                ElementsAre(Pair("acc", 0.5), Pair("acc_norm", 1), Pair("acc_bytes", 1)));
    EXPECT_THAT(found.predictions[0].outputs.at("log_likelihood"),
                ElementsAre(static_cast<float>(likelihood_of(" b")),
                            static_cast<float>(likelihood_of(" bb"))));
    EXPECT_EQ(found.predictions[1].label, 1);
    EXPECT_EQ(found.predictions[1].hashes.at("prompt_hash").size(), 64u);
    EXPECT_THAT(task->protocol(), testing::Contains(Pair("task", "piqa 1.0")));
  }
}

TEST_F(LanguageTasks, LambadaIsRightWhereTheModelWouldWriteIt) {
  const std::string rows =
      json{{"text", "one aaa"}}.dump() + "\n" + json{{"text", "x aab"}}.dump() + "\n";
  const auto task = choice(rows, ", name: lambada, target_delimiter: ''");
  const Evaluation found = task->evaluate({predict}, nullptr);
  // The blank in front of the word is not the likeliest token.
  EXPECT_EQ(found.metrics[0].second, 0);
  const double mean = (likelihood_of(" aaa") + likelihood_of(" aab")) / 2;
  EXPECT_THAT(found.metrics[1], Pair("perplexity", testing::DoubleNear(std::exp(-mean), 1e-6)));
}

TEST_F(LanguageTasks, PairsAreEncodedTogether) {
  const TaskContext known = context();
  const TextEncoder encoder(known, StartToken::kTokenizer, std::nullopt);
  const auto pair = [&](const std::string& text, const std::string& more, int64_t length = 64) {
    return encode_pair(encoder, text, more, length, "here");
  };
  // Blanks move to the continuation.
  EXPECT_THAT(pair("a \n", " b").sequence.ids, ElementsAre(kBos, 'a', ' ', '\n', ' ', 'b'));
  EXPECT_EQ(pair("a \n", " b").sequence.first_target, 2);
  // The prefix token is an empty context, and never stands twice.
  EXPECT_THAT(pair("", "b").sequence.ids, ElementsAre(kBos, 'b'));
  EXPECT_THAT(pair("", "<s>b").sequence.ids, ElementsAre(kBos, 'b'));
  EXPECT_THAT(pair("<s>a", "b").sequence.ids, ElementsAre(kBos, 'a', 'b'));
  // Three tokens are read, so four count.
  const EncodedPair cut = pair("abcdef", "gh", 3);
  EXPECT_THAT(cut.sequence.ids, ElementsAre('e', 'f', 'g', 'h'));
  EXPECT_EQ(cut.sequence.first_target, 2);
  EXPECT_TRUE(cut.cut);
  EXPECT_THAT(message_of<DataError>([&] { pair("a", "bcde", 3); }),
              AllOf(HasSubstr("here"), HasSubstr("4 tokens"), HasSubstr("at most 3")));
  EXPECT_THAT(message_of<DataError>([&] { pair("a", ""); }), HasSubstr("no tokens of its own"));
  ByteTokenizer nameless;
  nameless.bos.reset();
  const TaskContext unknown = context(&nameless);
  const TextEncoder other(unknown, StartToken::kNever, std::nullopt);
  EXPECT_THAT(message_of<ConfigError>([&] { encode_pair(other, "", "b", 64, "here"); }),
              HasSubstr("task.prefix_token"));
}

TEST_F(LanguageTasks, StartTokensFollowTheRule) {
  ByteTokenizer plain;
  plain.adds_bos = false;
  for (const ByteTokenizer* tokenizer : {&tokenizer_, &plain}) {
    const TaskContext known = context(tokenizer);
    const auto ids = [&](StartToken start) {
      return TextEncoder(known, start, std::nullopt).encode("a").size();
    };
    EXPECT_EQ(ids(StartToken::kTokenizer), tokenizer->adds_bos ? 2u : 1u);
    EXPECT_EQ(ids(StartToken::kNever), 1u);
    EXPECT_EQ(ids(StartToken::kAlways), 2u);
  }
}

TEST_F(LanguageTasks, WhatChoicesShareIsComputedOnce) {
  const std::string row =
      json{{"goal", "a long goal"}, {"sol1", "b"}, {"sol2", "cc"}, {"label", 0}}.dump();
  int64_t shared = 0, alone = 0;
  const auto count = [](int64_t& tokens) {
    return Predictor{[&tokens](const Batch& batch) {
      tokens += batch.tokens();
      return predict(batch);
    }};
  };
  choice(row, ", name: piqa")->evaluate(count(shared), nullptr);
  choice(row, ", name: piqa, share_contexts: false")->evaluate(count(alone), nullptr);
  // <s>Question: a long goal\nAnswer: is 30 tokens, of which the last one predicts.
  EXPECT_EQ(alone, 31 + 32);
  EXPECT_EQ(shared, 29 + 2 + 3);
}

}  // namespace
}  // namespace quell

#include "framework/model/text_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cmath>
#include <limits>
#include <map>
#include <random>

namespace quell {
namespace {

using testing::ElementsAre;

constexpr int64_t kVocabulary = 4, kStart = 3, kEnd = 2;
constexpr float kImpossible = -std::numeric_limits<float>::infinity();

// A language in which what follows depends on the two last tokens.
class Language {
 public:
  explicit Language(uint64_t seed) : draw_(seed) {}

  // Log-probabilities of the next token.
  const std::vector<float>& after(const std::vector<int64_t>& ids) {
    const int64_t last = ids.back(), before = ids.size() > 1 ? ids[ids.size() - 2] : -1;
    auto& scores = table_[{before, last}];
    if (scores.empty()) {
      std::normal_distribution<double> normal;
      double sum = 0;
      std::vector<double> logits;
      for (int64_t i = 0; i < kVocabulary; ++i) logits.push_back(2 * normal(draw_));
      for (const double logit : logits) sum += std::exp(logit);
      for (const double logit : logits) scores.push_back(static_cast<float>(logit - std::log(sum)));
    }
    return scores;
  }

 private:
  std::mt19937_64 draw_;
  std::map<std::pair<int64_t, int64_t>, std::vector<float>> table_;
};

GenerationOptions options_of(int64_t beams, int64_t max_length) {
  GenerationOptions options;
  options.num_beams = beams;
  options.max_length = max_length;
  options.decoder_start_token_id = kStart;
  options.eos_token_id = {kEnd};
  return options;
}

std::vector<GeneratedSequence> run(Language& language, const GenerationOptions& options) {
  const auto search = make_search(options);
  while (!search->running().empty()) {
    std::vector<std::vector<float>> scores;
    for (const Hypothesis& hypothesis : search->running()) {
      scores.push_back(language.after(hypothesis.ids));
    }
    std::vector<float*> rows;
    for (auto& row : scores) rows.push_back(row.data());
    search->advance(rows, kVocabulary);
  }
  return search->results();
}

// The best of all texts, by trying each.
void try_all(Language& language, const GenerationOptions& options, std::vector<int64_t> ids,
             double score, GeneratedSequence& best) {
  const auto length = static_cast<int64_t>(ids.size());
  const bool finished = length > 1 && ids.back() == kEnd;
  if (finished || length == options.max_length) {
    const double ranked = score / std::pow(length - 1, options.length_penalty);
    if (best.ids.empty() || ranked > best.score) best = {ids, ranked};
    return;
  }
  const std::vector<float> scores = language.after(ids);
  for (int64_t token = 0; token < kVocabulary; ++token) {
    ids.push_back(token);
    try_all(language, options, ids, score + scores[token], best);
    ids.pop_back();
  }
}

TEST(BeamSearch, WithEnoughBeamsFindsTheBestOfAllTexts) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const double penalty : {0.0, 1.0, 2.0}) {
      Language language(seed);
      GenerationOptions options = options_of(256, 5);
      options.early_stopping = EarlyStopping::kNever;
      options.length_penalty = penalty;
      GeneratedSequence best;
      try_all(language, options, {kStart}, 0, best);
      const GeneratedSequence found = run(language, options).front();
      EXPECT_EQ(found.ids, best.ids) << seed << " " << penalty;
      EXPECT_NEAR(found.score, best.score, 1e-5);  // float32 sums of four values
    }
  }
}

TEST(BeamSearch, GivesAsManyTextsAsWantedTheBestFirst) {
  Language language(1);
  GenerationOptions options = options_of(4, 6);
  options.num_return_sequences = 4;
  const auto found = run(language, options);
  ASSERT_EQ(found.size(), 4u);
  for (size_t i = 1; i < found.size(); ++i) EXPECT_LE(found[i].score, found[i - 1].score);
}

TEST(GreedySearch, TakesTheLikeliestTokenEachTime) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Language language(seed);
    const auto found = run(language, options_of(1, 8)).front().ids;
    std::vector<int64_t> expected = {kStart};
    while (expected.size() < 8 && (expected.size() == 1 || expected.back() != kEnd)) {
      const auto& scores = language.after(expected);
      expected.push_back(std::max_element(scores.begin(), scores.end()) - scores.begin());
    }
    EXPECT_EQ(found, expected);
  }
}

TEST(TextSearch, ObeysLimits) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const int64_t beams : {1, 3}) {
      Language language(seed);
      GenerationOptions options = options_of(beams, 9);
      options.min_length = 5;
      options.no_repeat_ngram_size = 2;
      options.forced_bos_token_id = 0;
      options.forced_eos_token_id = {kEnd};
      const auto ids = run(language, options).front().ids;
      EXPECT_EQ(ids[0], kStart);
      EXPECT_EQ(ids[1], 0);
      EXPECT_EQ(ids.back(), kEnd);
      EXPECT_GE(ids.size(), 6u);  // five tokens in front of the end
      EXPECT_LE(ids.size(), 9u);
      for (size_t i = 0; i + 2 < ids.size() - 1; ++i) {
        for (size_t k = i + 1; k + 2 < ids.size(); ++k) {
          EXPECT_FALSE(ids[i] == ids[k] && ids[i + 1] == ids[k + 1]) << seed << " " << beams;
        }
      }
    }
  }
}

TEST(GreedySearch, OfEqualScoresTheSmallerTokenWins) {
  const auto search = make_search(options_of(1, 3));
  std::vector<float> scores = {kImpossible, -1, -2, -1};
  float* row = scores.data();
  search->advance({&row, 1}, kVocabulary);
  EXPECT_THAT(search->running().front().ids, ElementsAre(kStart, 1));
}

// Ends that are forced are equally good: each is a text. Where only one is, the other texts wanted
// are copies of it from beams that do not exist, or padding.
TEST(BeamSearch, GivesEachForcedEndAndFillsWhatDoesNotExist) {
  GenerationOptions options = options_of(4, 2);
  options.forced_eos_token_id = {0, kEnd};
  options.num_return_sequences = 2;
  options.pad_token_id = 1;
  const auto write = [&] {
    const auto search = make_search(options);
    std::vector<float> scores = {-1, -2, -3, -4};
    float* row = scores.data();
    search->advance({&row, 1}, kVocabulary);
    EXPECT_TRUE(search->running().empty());
    return search->results();
  };
  std::vector<std::vector<int64_t>> texts;
  for (const GeneratedSequence& text : write()) texts.push_back(text.ids);
  EXPECT_THAT(texts, testing::UnorderedElementsAre(ElementsAre(kStart, 0), ElementsAre(kStart, 2)));
  options.forced_eos_token_id = {kEnd};
  options.num_return_sequences = 4;
  const auto forced = write();
  EXPECT_THAT(forced[0].ids, ElementsAre(kStart, kEnd));
  EXPECT_EQ(forced[0].score, 0);
  for (size_t i = 1; i < forced.size(); ++i) {
    EXPECT_THAT(forced[i].ids, testing::AnyOf(ElementsAre(kStart, kEnd), ElementsAre(kStart, 1)));
    EXPECT_LE(forced[i].score, -1e9) << i;
  }
}

}  // namespace
}  // namespace quell

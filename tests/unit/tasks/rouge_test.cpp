#include "tasks/metrics/rouge.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "framework/json/json.h"
#include "support.h"
#include "tasks/metrics/porter_stemmer.h"
#include "tests/support/paths.h"

namespace quell {
namespace {

using nlohmann::json;

// Sums of a few fractions in another order.
constexpr double kTolerance = 1e-9;

std::filesystem::path test_data() { return source_folder() / "tests/data/rouge"; }

void expect_value(const RougeValue& value, const json& expected, const std::string& what) {
  EXPECT_NEAR(value.precision, expected[0].get<double>(), kTolerance) << what;
  EXPECT_NEAR(value.recall, expected[1].get<double>(), kTolerance) << what;
  EXPECT_NEAR(value.f, expected[2].get<double>(), kTolerance) << what;
}

void expect_scores(const RougeScores& scores, const json& expected, const std::string& what) {
  expect_value(scores.rouge1, expected["rouge1"], what + " rouge1");
  expect_value(scores.rouge2, expected["rouge2"], what + " rouge2");
  expect_value(scores.rougeL, expected["rougeL"], what + " rougeL");
  expect_value(scores.rougeLsum, expected["rougeLsum"], what + " rougeLsum");
}

// Compares all pairs of a file; returns their means with and without stemmer.
std::pair<RougeScores, RougeScores> compare(const std::filesystem::path& file) {
  std::vector<RougeScores> stemmed, plain;
  read_json_lines(file, [&](const json& pair, int64_t line) {
    const std::string place = "line " + std::to_string(line);
    const auto prediction = pair["cand"].get<std::string>();
    const auto reference = pair["ref"].get<std::string>();
    stemmed.push_back(rouge(prediction, reference, true));
    plain.push_back(rouge(prediction, reference, false));
    expect_scores(stemmed.back(), pair["stem"], place + " stemmed");
    expect_scores(plain.back(), pair["nostem"], place);
  });
  EXPECT_GE(stemmed.size(), 50u);
  return {mean_rouge(stemmed), mean_rouge(plain)};
}

TEST(Rouge, EqualsRougeScore) { compare(test_data() / "rouge.jsonl"); }

TEST(Rouge, EqualsRougeScoreOnAllPairs) {
  const auto folder = shared_folder() / "goldens/rouge";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  const auto [stemmed, plain] = compare(folder / "rouge.jsonl");
  const json aggregate = read_json_file(folder / "rouge_aggregate.json");
  expect_scores(stemmed, aggregate["stem"]["mean"], "mean, stemmed");
  expect_scores(plain, aggregate["nostem"]["mean"], "mean");
}

TEST(Rouge, PorterStems) {
  const json stems = read_json_file(test_data() / "porter_stems.json");
  EXPECT_GT(stems.size(), 6000u);
  for (const auto& [word, stem] : stems.items()) {
    if (word.size() <= 3) continue;
    EXPECT_EQ(porter_stem(word), stem.get<std::string>()) << word;
  }
  EXPECT_EQ(porter_stem("skies"), "sky");
  EXPECT_EQ(porter_stem("ties"), "tie");
  EXPECT_EQ(porter_stem("by"), "by");
  EXPECT_EQ(porter_stem(""), "");
}

TEST(Rouge, ByHand) {
  // 3 of 4 words, 1 of 3 pairs; the longest common subsequence is "the cat sat" of 4 and 5.
  const RougeScores scores = rouge("the cat sat down", "the big cat sat there", false);
  EXPECT_DOUBLE_EQ(scores.rouge1.precision, 3.0 / 4);
  EXPECT_DOUBLE_EQ(scores.rouge1.recall, 3.0 / 5);
  EXPECT_DOUBLE_EQ(scores.rouge2.precision, 1.0 / 3);
  EXPECT_DOUBLE_EQ(scores.rouge2.recall, 1.0 / 4);
  EXPECT_DOUBLE_EQ(scores.rougeL.f, 2 * 3.0 / 9);
  // Lin 2004, section 3.2: the union of w1 w2 and w1 w3 w5 has four of five words.
  const RougeScores lin = rouge("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5", false);
  EXPECT_DOUBLE_EQ(lin.rougeLsum.recall, 4.0 / 5);
  EXPECT_DOUBLE_EQ(lin.rougeLsum.precision, 4.0 / 10);
}

TEST(Rouge, Laws) {
  const char* texts[] = {"one", "a b c a b", "first line\nsecond line here", "the same the same"};
  for (const std::string text : texts) {
    const RougeScores same = rouge(text, text, true);
    EXPECT_DOUBLE_EQ(same.rouge1.f, 1);
    EXPECT_DOUBLE_EQ(same.rougeL.f, 1);
    EXPECT_DOUBLE_EQ(same.rougeLsum.f, 1);
    for (const std::string other : texts) {
      const RougeScores there = rouge(text, other, true), back = rouge(other, text, true);
      EXPECT_DOUBLE_EQ(there.rouge1.precision, back.rouge1.recall);
      EXPECT_DOUBLE_EQ(there.rouge2.precision, back.rouge2.recall);
      EXPECT_DOUBLE_EQ(there.rougeL.precision, back.rougeL.recall);
      EXPECT_LE(there.rougeL.f, there.rouge1.f);
    }
  }
}

TEST(Rouge, WordsAreLettersAndDigits) {
  EXPECT_DOUBLE_EQ(rouge("It's GREAT!", "it s great", false).rouge1.f, 1);
  EXPECT_DOUBLE_EQ(rouge("caf\u00e9s", "caf s", false).rouge1.f, 1);
  // As Python lower-cases them: the Kelvin sign is a k, I with a dot an i and a dot.
  EXPECT_DOUBLE_EQ(rouge("5\u212Ab \u0130x", "5kb i x", false).rouge1.f, 1);
  EXPECT_DOUBLE_EQ(rouge("running", "runs", true).rouge1.f, 1);
  EXPECT_DOUBLE_EQ(rouge("running", "runs", false).rouge1.f, 0);
}

TEST(Rouge, NothingScoresNothing) {
  for (const char* empty : {"", "\n\n", "\u2014 ...", "\u00e9"}) {
    EXPECT_EQ(rouge(empty, "a word", true).rouge1.f, 0);
    EXPECT_EQ(rouge("a word", empty, true).rougeLsum.recall, 0);
    EXPECT_EQ(rouge(empty, empty, true).rougeL.f, 0);
  }
  EXPECT_EQ(rouge("one", "one", true).rouge2.f, 0);
  EXPECT_EQ(mean_rouge({}).rouge1.f, 0);
}

TEST(Rouge, LongTexts) {
  std::string one, other;
  for (int i = 0; i < 3000; ++i) {
    one += fmt::format("w{} ", i % 97);
    other += fmt::format("w{} ", i % 89);
  }
  const RougeScores scores = rouge(one, other, true);
  EXPECT_GT(scores.rougeL.f, 0.1);
  EXPECT_LE(scores.rougeL.f, scores.rougeLsum.f + kTolerance);
  EXPECT_EQ(porter_stem(std::string(100000, 'y')).size(), 100000u);
}

}  // namespace
}  // namespace quell

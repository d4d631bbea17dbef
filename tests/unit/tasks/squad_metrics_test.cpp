#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "squad_goldens.h"
#include "tasks/data/squad_metrics.h"
#include "tasks/data/squad_score.h"

namespace quell {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;
using testing::Pair;

TEST(SquadMetrics, TextCasesOfTheGoldens) {
  const auto goldens = read_json_file(test_data("squad/squad_text_cases.json"));
  for (const auto& entry : goldens.at("cases")) {
    const std::string answer = entry.at("pred");
    const std::vector<std::string> references = {entry.at("gold")};
    SCOPED_TRACE(entry.dump());
    EXPECT_EQ(normalize_answer(answer), entry.at("norm_pred"));
    const AnswerScore v1 = score_answer(answer, references, SquadVersion::kV1);
    const AnswerScore v2 = score_answer(answer, references, SquadVersion::kV2);
    EXPECT_EQ(v1.exact, entry.at("em").get<double>());
    EXPECT_EQ(v2.exact, entry.at("em").get<double>());
    EXPECT_DOUBLE_EQ(v1.f1, entry.at("f1_v1").get<double>());
    EXPECT_DOUBLE_EQ(v2.f1, entry.at("f1_v2").get<double>());
  }
}

TEST(SquadMetrics, WordsAreThoseOfPython) {
  // What Python 3.11 gives for the official normalize_answer().
  EXPECT_EQ(normalize_answer("\u039f\u0394\u039f\u03a3"), "\u03bf\u03b4\u03bf\u03c2");  // sigma
  EXPECT_EQ(normalize_answer("\u0130stanbul"), "i\u0307stanbul");
  EXPECT_EQ(normalize_answer("a\u00a0cat\u2003the\x1c"
                             "dog"),
            "cat dog");
  EXPECT_EQ(normalize_answer("the\u2019s an\u2014end"), "\u2019s \u2014end");
  EXPECT_EQ(normalize_answer("a\u0301 b"), "\u0301 b");  // marks end a word
  EXPECT_EQ(normalize_answer("a-n the_"), "");
  EXPECT_EQ(normalize_answer("Th\u00e9 \u4e00a"), "th\u00e9 \u4e00a");
}

SquadExample example(std::vector<ReferenceAnswer> answers) {
  SquadExample result;
  result.answers = std::move(answers);
  return result;
}

TEST(SquadMetrics, FirstVersionCountsQuestionsWithAnswers) {
  const std::vector<SquadExample> examples = {example({{"red", 0}, {"dark red", 0}}), example({}),
                                              example({{"blue", 0}})};
  const std::vector<GivenAnswer> answers = {{"very dark red", "", 0}, {"x", "", 0}, {{}, "", 0}};
  // 2 * (2/3) * 1 / (2/3 + 1) = 0.8; the missing one counts 0.
  EXPECT_THAT(
      squad_metrics(examples, answers, SquadVersion::kV1),
      ElementsAre(Pair("f1", DoubleEq(0.4)), Pair("exact_match", 0.0), Pair("missing", 0.5)));
}

TEST(SquadMetrics, SecondVersionFindsTheBestThreshold) {
  const std::vector<SquadExample> examples = {example({{"red", 0}}), example({}),
                                              example({{"blue", 0}}), example({})};
  const std::vector<GivenAnswer> answers = {
      {"red", "red", -3}, {"x", "x", -1}, {"", "blue", -2}, {"", "y", 4}};
  EXPECT_THAT(
      squad_metrics(examples, answers, SquadVersion::kV2),
      ElementsAre(Pair("f1", 0.5), Pair("exact", 0.5), Pair("HasAns_f1", 0.5),
                  Pair("HasAns_exact", 0.5), Pair("NoAns_f1", 0.5), Pair("NoAns_exact", 0.5),
                  Pair("best_f1", 1.0), Pair("best_f1_thresh", -2.0), Pair("best_exact", 1.0),
                  Pair("best_exact_thresh", -2.0)));
}

TEST(SquadMetrics, PublishedPredictions) {
  const auto folder = shared_folder() / "data/squad";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "../shared is not there";
  const auto goldens = read_json_file(test_data("squad/squad_text_cases.json"));
  const SquadData data = read_squad(folder / "dev-v1.1.json");
  for (const auto& [name, expected] : goldens.at("published_v11").items()) {
    ScoreOptions options;
    options.predictions = folder / "predictions" / ("v1.1-" + name + ".json");
    const Metrics metrics = score_squad(data, {}, options);
    ASSERT_GE(metrics.size(), 2u);  // one of the files leaves questions out
    // Sums of 10570 float64 numbers in the same order, divided in another.
    EXPECT_NEAR(metrics[0].second * 100, expected.at("f1").get<double>(), 1e-9);
    EXPECT_NEAR(metrics[1].second * 100, expected.at("exact_match").get<double>(), 1e-9);
  }
}

}  // namespace
}  // namespace quell

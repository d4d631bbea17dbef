#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cmath>
#include <map>

#include "framework/text/unicode.h"
#include "squad_goldens.h"
#include "tasks/data/squad_answers.h"
#include "tasks/data/squad_logits.h"
#include "tasks/data/squad_score.h"

namespace quell {
namespace {

using nlohmann::json;

// Percent in the goldens, fractions here: both are sums divided by the same count, rounded apart.
constexpr double kRounding = 1e-12;
// The published probabilities are float32 sums in another order.
constexpr double kSoftmaxRounding = 1e-6;

double metric(const Metrics& metrics, const std::string& name) {
  for (const auto& [key, value] : metrics) {
    if (key == name) return value;
  }
  ADD_FAILURE() << "no metric " << name;
  return NAN;
}

// Answers from the stored logits of one setting.
class StoredLogits {
 public:
  StoredLogits(const SquadGoldens& goldens, const std::string& setting) : goldens_(goldens) {
    start_ = goldens.tensors.read(setting + ".start_logits");
    end_ = goldens.tensors.read(setting + ".end_logits");
    const auto offsets = integer_rows(goldens.tensors.read(setting + ".offsets"));
    for (const auto& row : offsets) {
      auto& window = offsets_.emplace_back();
      for (size_t i = 0; i < row.size(); i += 2) window.emplace_back(row[i], row[i + 1]);
    }
    const auto examples = integer_rows(goldens.tensors.read(setting + ".example_index"));
    for (size_t i = 0; i < examples.size(); ++i) windows_[examples[i][0]].push_back(i);
  }

  SquadAnswer answer(const SquadExample& example, const SquadAnswerOptions& options) const {
    std::vector<WindowScores> scores;
    for (const size_t window : windows_.at(example.index)) {
      scores.push_back({row(start_, window), row(end_, window), offsets_[window]});
    }
    return find_answer(unicode::decode_utf8(example.context), scores, options);
  }

 private:
  static std::span<const float> row(const at::Tensor& values, size_t window) {
    const auto width = static_cast<size_t>(values.size(1));
    return {values.const_data_ptr<float>() + window * width, width};
  }

  const SquadGoldens& goldens_;
  at::Tensor start_, end_;
  std::vector<std::vector<std::pair<int32_t, int32_t>>> offsets_;
  std::map<int64_t, std::vector<size_t>> windows_;
};

void expect_candidates(const std::vector<SquadCandidate>& candidates, const json& expected) {
  ASSERT_EQ(candidates.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(candidates[i].text, expected[i].at("text")) << i;
    EXPECT_EQ(candidates[i].start_logit, expected[i].at("start_logit").get<float>()) << i;
    EXPECT_EQ(candidates[i].end_logit, expected[i].at("end_logit").get<float>()) << i;
    EXPECT_EQ(candidates[i].score, expected[i].at("score").get<float>()) << i;
    EXPECT_NEAR(candidates[i].probability, expected[i].at("probability").get<double>(),
                kSoftmaxRounding);
  }
}

void expect_score(const std::string& answer, const SquadExample& example, SquadVersion version,
                  const json& expected) {
  const GivenAnswer given{answer, answer, 0};
  const Metrics metrics = squad_metrics({&example, 1}, {&given, 1}, version);
  EXPECT_EQ(metric(metrics, version == SquadVersion::kV1 ? "exact_match" : "exact"),
            expected[0].get<double>());
  EXPECT_NEAR(metric(metrics, "f1"), expected[1].get<double>(), kRounding);
}

void expect_part(const SquadGoldens& goldens, const StoredLogits& logits, const json& part,
                 const SquadAnswerOptions& options) {
  for (const SquadExample& example : goldens.data.examples) {
    SCOPED_TRACE(example.id);
    const SquadAnswer answer = logits.answer(example, options);
    EXPECT_EQ(answer.text, part.at("predictions").at(example.id));
    if (part.contains("score_diff")) {
      EXPECT_EQ(answer.null_score_diff, part["score_diff"].at(example.id).get<float>());
      EXPECT_EQ(answer.best_text, part.at("best_nonnull").at(example.id));
    }
    if (part.contains("nbest") && part["nbest"].contains(example.id)) {
      expect_candidates(answer.candidates, part["nbest"][example.id]);
    }
    if (part.contains("per_example") && part["per_example"].contains(example.id)) {
      expect_score(answer.text, example, options.version, part["per_example"][example.id]);
    }
  }
}

TEST(SquadAnswers, AreThoseOfTheGoldens) {
  SquadAnswerOptions v1, v2, strict, few;
  v2.version = strict.version = SquadVersion::kV2;
  strict.null_score_diff_threshold = -3;
  few.n_best_size = 5;
  few.max_answer_length = 8;
  for (const auto& folder : golden_folders()) {
    const SquadGoldens goldens(folder);
    for (const auto& [setting, config] : goldens.json.at("configs").items()) {
      SCOPED_TRACE(folder.string() + " " + setting);
      const StoredLogits logits(goldens, setting);
      expect_part(goldens, logits, config.at("v1"), v1);
      expect_part(goldens, logits, config.at("v2"), v2);
      expect_part(goldens, logits, config.at("v2_threshold_-3"), strict);
      expect_part(goldens, logits, config.at("v1_nbest5_len8"), few);
    }
  }
  if (golden_folders().size() == 1) GTEST_SKIP() << "../shared is not there: excerpt only";
}

TEST(SquadAnswers, ScoresOfTheGoldens) {
  const auto folder = shared_folder() / "goldens/squad";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "../shared is not there";
  const SquadGoldens goldens(folder);
  SquadAnswerOptions v1, v2;
  v2.version = SquadVersion::kV2;
  ScoreOptions options;
  options.predictions = folder / "squad.safetensors";
  for (const auto& [setting, config] : goldens.json.at("configs").items()) {
    options.set = setting;
    const auto compare = [&](const Metrics& metrics, const json& expected) {
      for (const auto& [name, value] : metrics) {
        const bool is_share = !name.ends_with("_thresh");
        EXPECT_NEAR(value, expected.at(name).get<double>() / (is_share ? 100 : 1), kRounding)
            << setting << " " << name;
      }
    };
    const Metrics first = score_squad(goldens.data, v1, options);
    EXPECT_EQ(first.size(), 2u);
    compare(first, config["v1"]["metrics"]);
    // The best thresholds are those of the differences of scores; the rest is that of the answers.
    json expected = config["v2"]["metrics_na0"];
    for (const char* name : {"best_f1", "best_f1_thresh", "best_exact", "best_exact_thresh"}) {
      expected[name] = config["v2"]["metrics_nonnull_naScoreDiff_thr1"][name];
    }
    const Metrics second = score_squad(goldens.data, v2, options);
    EXPECT_EQ(second.size(), 10u);
    compare(second, expected);

    // The same through files of texts and numbers.
    const TemporaryFolder files;
    ScoreOptions texts;
    texts.predictions = files.write("texts.json", config["v2"]["predictions"].dump());
    compare(score_squad(goldens.data, v2, texts), config["v2"]["metrics_na0"]);
    texts.predictions = files.write("best.json", config["v2"]["best_nonnull"].dump());
    texts.no_answer_file = files.write("numbers.json", config["v2"]["score_diff"].dump());
    for (const double threshold : {1.0, 0.0}) {
      texts.no_answer_threshold = threshold;
      const char* key =
          threshold == 0 ? "metrics_nonnull_naScoreDiff_thr0" : "metrics_nonnull_naScoreDiff_thr1";
      compare(score_squad(goldens.data, v2, texts), config["v2"][key]);
    }
  }
}

// The file is that of utils_qa.py: its keys, its order, ASCII alone.
TEST(SquadAnswers, NBestListsOfTheGoldens) {
  SquadAnswerOptions v1, v2;
  v2.version = SquadVersion::kV2;
  const TemporaryFolder files;
  for (const auto& folder : golden_folders()) {
    const SquadGoldens goldens(folder);
    ScoreOptions options;
    options.predictions = folder / "squad.safetensors";
    for (const auto& [setting, config] : goldens.json.at("configs").items()) {
      options.set = setting;
      for (const auto& [version, answers] : {std::pair("v1", v1), std::pair("v2", v2)}) {
        SCOPED_TRACE(setting + " " + version);
        const auto file = files.path() / "nbest.json";
        score_squad(goldens.data, answers, options, file);
        const std::string text = read_file(file);
        EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c > 0; }));
        const auto lists = nlohmann::ordered_json::parse(text);
        EXPECT_EQ(lists.size(), goldens.data.examples.size());
        for (const auto& [id, expected] : config.at(version).at("nbest").items()) {
          const auto& found = lists.at(id);
          ASSERT_EQ(found.size(), expected.size()) << id;
          for (size_t i = 0; i < expected.size(); ++i) {
            std::string keys;
            for (const auto& entry : found[i].items()) keys += entry.key() + " ";
            EXPECT_EQ(keys, "score start_logit end_logit text probability ");
            EXPECT_EQ(found[i]["text"].get<std::string>(), expected[i]["text"]) << id;
            for (const char* key : {"score", "start_logit", "end_logit"}) {
              EXPECT_EQ(found[i][key].get<double>(), expected[i][key].get<double>()) << id << key;
            }
            EXPECT_NEAR(found[i]["probability"].get<double>(),
                        expected[i]["probability"].get<double>(), kSoftmaxRounding);
          }
        }
      }
    }
  }
  const SquadGoldens goldens(test_data("squad"));
  ScoreOptions texts;
  texts.predictions = files.write("texts.json", "{}");
  EXPECT_THROW(score_squad(goldens.data, v1, texts, files.path() / "x.json"), ConfigError);
}

TEST(SquadAnswers, EqualScoresHaveAnOrder) {
  const std::vector<float> same(4, 0.0f);
  const std::vector<std::pair<int32_t, int32_t>> offsets = {{-1, -1}, {0, 1}, {2, 3}, {-1, -1}};
  const std::vector<WindowScores> windows = {{same, same, offsets}};
  // The later token first, and then what was found first.
  EXPECT_EQ(find_answer(U"a b", windows, {}).text, "b");
}

TEST(SquadAnswers, WithoutAnythingToAnswerFromItIsEmpty) {
  const std::vector<float> scores = {1, 2};
  const std::vector<std::pair<int32_t, int32_t>> offsets(2, {-1, -1});
  const std::vector<WindowScores> windows = {{scores, scores, offsets}};
  EXPECT_EQ(find_answer(U"", windows, {}).text, "empty");
  SquadAnswerOptions options;
  options.version = SquadVersion::kV2;
  const SquadAnswer answer = find_answer(U"", windows, options);
  EXPECT_EQ(answer.text, "");
  EXPECT_EQ(answer.null_score_diff, 2);
}

}  // namespace
}  // namespace quell

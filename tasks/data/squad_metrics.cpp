#include "tasks/data/squad_metrics.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "framework/base/error.h"

namespace quell {
namespace {

std::vector<std::string> references(const SquadExample& example, SquadVersion version) {
  std::vector<std::string> texts;
  for (const ReferenceAnswer& answer : example.answers) {
    // The second version leaves out those of which normalization leaves nothing.
    if (version == SquadVersion::kV2 && normalize_answer(answer.text).empty()) continue;
    texts.push_back(answer.text);
  }
  if (version == SquadVersion::kV2 && texts.empty()) texts.emplace_back();
  return texts;
}

struct Mean {
  AnswerScore sum;
  int64_t count = 0;

  void add(const AnswerScore& score) {
    sum.exact += score.exact;
    sum.f1 += score.f1;
    ++count;
  }
  void append(const std::string& prefix, const std::string& exact_name, Metrics& metrics) const {
    if (count == 0) return;
    metrics.emplace_back(prefix + "f1", sum.f1 / static_cast<double>(count));
    metrics.emplace_back(prefix + exact_name, sum.exact / static_cast<double>(count));
  }
};

// One question of the search for the best threshold.
struct Choice {
  double no_answer;
  bool has_answer;
  bool says_something;
  AnswerScore score;
};

// Answers more and more questions, those with little for "no answer" first.
void append_best(std::span<const Choice> choices, double AnswerScore::*value,
                 const std::string& name, size_t total, Metrics& metrics) {
  double sum = static_cast<double>(
      std::count_if(choices.begin(), choices.end(), [](const Choice& c) { return !c.has_answer; }));
  double best = sum, threshold = 0;
  for (const Choice& choice : choices) {
    sum += choice.has_answer ? choice.score.*value : choice.says_something ? -1 : 0;
    if (sum <= best) continue;
    best = sum;
    threshold = choice.no_answer;
  }
  metrics.emplace_back(name, best / static_cast<double>(total));
  metrics.emplace_back(name + "_thresh", threshold);
}

}  // namespace

Metrics squad_metrics(std::span<const SquadExample> examples, std::span<const GivenAnswer> answers,
                      SquadVersion version) {
  QUELL_ASSERT(examples.size() == answers.size(), "one answer per question");
  Mean all, with, without;
  std::vector<Choice> choices;
  int64_t missing = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    const bool has_answer = !examples[i].answers.empty();
    if (version == SquadVersion::kV1 && !has_answer) continue;
    const auto texts = references(examples[i], version);
    const GivenAnswer& given = answers[i];
    const AnswerScore score =
        given.text ? score_answer(*given.text, texts, version) : AnswerScore{};
    missing += given.text ? 0 : 1;
    all.add(score);
    (has_answer ? with : without).add(score);
    if (version == SquadVersion::kV1) continue;
    const AnswerScore best =
        given.text ? score_answer(given.best_text, texts, version) : AnswerScore{};
    choices.push_back({given.no_answer, has_answer, !given.text || !given.best_text.empty(), best});
  }
  Metrics metrics;
  all.append("", version == SquadVersion::kV1 ? "exact_match" : "exact", metrics);
  if (version == SquadVersion::kV2) {
    with.append("HasAns_", "exact", metrics);
    without.append("NoAns_", "exact", metrics);
    std::stable_sort(choices.begin(), choices.end(),
                     [](const Choice& a, const Choice& b) { return a.no_answer < b.no_answer; });
    append_best(choices, &AnswerScore::f1, "best_f1", examples.size(), metrics);
    append_best(choices, &AnswerScore::exact, "best_exact", examples.size(), metrics);
  }
  if (missing > 0) {
    metrics.emplace_back("missing", static_cast<double>(missing) / static_cast<double>(all.count));
  }
  return metrics;
}

}  // namespace quell

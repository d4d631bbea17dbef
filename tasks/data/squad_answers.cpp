#include "tasks/data/squad_answers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/base/error.h"
#include "framework/text/unicode.h"

namespace quell {
namespace {

SquadCandidate null_candidate(const WindowScores& window) {
  const float start = window.start.front(), end = window.end.front();
  return {"", 0, 0, start, end, start + end};
}

// What the published script puts in place of an answer where it finds none.
SquadCandidate empty_candidate() { return {"empty", 0, 0, 0, 0, 0}; }

// Positions of the largest values, the largest first.
std::vector<int64_t> largest(std::span<const float> values, int64_t count) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto end = order.begin() + std::min(count, std::ssize(order));
  std::partial_sort(order.begin(), end, order.end(), [&](int64_t a, int64_t b) {
    return values[a] != values[b] ? values[a] > values[b] : a > b;
  });
  order.erase(end, order.end());
  return order;
}

void add_spans(const WindowScores& window, const SquadAnswerOptions& options,
               std::vector<SquadCandidate>& candidates) {
  const auto ends = largest(window.end, options.n_best_size);
  for (const int64_t start : largest(window.start, options.n_best_size)) {
    for (const int64_t end : ends) {
      if (window.offsets[start].first < 0 || window.offsets[end].first < 0) continue;
      if (end < start || end - start + 1 > options.max_answer_length) continue;
      const float first = window.start[start], last = window.end[end];
      candidates.push_back(
          {"", window.offsets[start].first, window.offsets[end].second, first, last, first + last});
    }
  }
}

void keep_best(std::vector<SquadCandidate>& candidates, int64_t count) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  if (std::ssize(candidates) > count) candidates.resize(count);
}

void set_probabilities(std::vector<SquadCandidate>& candidates) {
  const auto best =
      std::max_element(candidates.begin(), candidates.end(),
                       [](const auto& a, const auto& b) { return a.score < b.score; });
  const float highest = best->score;
  float sum = 0;
  for (SquadCandidate& candidate : candidates) {
    candidate.probability = std::exp(candidate.score - highest);
    sum += candidate.probability;
  }
  for (SquadCandidate& candidate : candidates) candidate.probability /= sum;
}

}  // namespace

SquadAnswer find_answer(std::u32string_view context, std::span<const WindowScores> windows,
                        const SquadAnswerOptions& options) {
  QUELL_ASSERT(!windows.empty(), "every question has a window");
  SquadAnswer answer;
  auto& candidates = answer.candidates;
  SquadCandidate null = null_candidate(windows.front());
  for (const WindowScores& window : windows) {
    const SquadCandidate candidate = null_candidate(window);
    if (candidate.score < null.score) null = candidate;
    add_spans(window, options, candidates);
  }
  const bool may_be_null = options.version == SquadVersion::kV2;
  if (may_be_null) candidates.push_back(null);
  keep_best(candidates, options.n_best_size);
  const auto spans_nothing = [](const auto& c) { return c.start == 0 && c.end == 0; };
  if (may_be_null && std::none_of(candidates.begin(), candidates.end(), spans_nothing)) {
    candidates.push_back(null);
  }
  for (SquadCandidate& candidate : candidates) {
    const auto length = static_cast<size_t>(std::max<int64_t>(0, candidate.end - candidate.start));
    candidate.text = unicode::encode_utf8(context.substr(candidate.start, length));
  }
  const auto has_text = [](const auto& candidate) { return !candidate.text.empty(); };
  if (std::none_of(candidates.begin(), candidates.end(), has_text)) {
    candidates.insert(candidates.begin(), empty_candidate());
  }
  set_probabilities(candidates);
  const auto best = std::find_if(candidates.begin(), candidates.end(), has_text);
  answer.best_text = best->text;
  answer.null_score_diff = null.score - best->start_logit - best->end_logit;
  const bool is_null = may_be_null && answer.null_score_diff > options.null_score_diff_threshold;
  answer.text = is_null ? "" : may_be_null ? best->text : candidates.front().text;
  return answer;
}

}  // namespace quell

// From start and end logits to the text of an answer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tasks/metrics/squad.h"

namespace quell {

struct SquadAnswerOptions {
  SquadVersion version = SquadVersion::kV1;
  int64_t n_best_size = 20;
  int64_t max_answer_length = 30;        // in tokens
  double null_score_diff_threshold = 0;  // of v2: a larger difference means "no answer"
};

// The network's scores for one window, one value per token, and the token's half-open spans in
// code points of the context; [-1, -1) for tokens outside of it.
struct WindowScores {
  std::span<const float> start;
  std::span<const float> end;
  std::span<const std::pair<int32_t, int32_t>> offsets;
};

// One of the best answers. `score` is the float32 sum of the two logits, `probability` its softmax
// among the best.
struct SquadCandidate {
  std::string text;  // "" is no answer
  int64_t start = 0;
  int64_t end = 0;
  float start_logit = 0;
  float end_logit = 0;
  float score = 0;
  float probability = 0;
};

struct SquadAnswer {
  std::string text;                        // "" in v2: the context does not answer the question
  std::string best_text;                   // the best one that is not ""
  float null_score_diff = 0;               // of v2: score of no answer minus score of `best_text`
  std::vector<SquadCandidate> candidates;  // best first
};

// The answer to one question from all its windows (at least one), as
// postprocess_qa_predictions() of Hugging Face's utils_qa.py finds it: the `n_best_size` best
// starts and ends of each window are combined; the score of no answer is that of the first token,
// the smallest of all windows. Where there is nothing else the answer is "empty", with logits 0. Of
// equal logits the later token comes first, of equal sums the one that was found first.
SquadAnswer find_answer(std::u32string_view context, std::span<const WindowScores> windows,
                        const SquadAnswerOptions& options);

}  // namespace quell

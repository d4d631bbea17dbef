// The official metrics of answered questions.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "framework/task/task.h"
#include "tasks/data/squad_data.h"
#include "tasks/metrics/squad.h"

namespace quell {

// What was answered to one question.
struct GivenAnswer {
  std::optional<std::string> text;  // "" says that there is no answer; absent counts as wrong
  std::string best_text;            // the answer if there has to be one, for the best threshold
  double no_answer = 0;             // how much speaks for "no answer"; any unit
};

// Entry i of `answers` is for example i. Fractions in [0, 1].
//
// v1: "f1" and "exact_match" over the questions that have answers. v2: "f1" and "exact" over all,
// "HasAns_f1", "HasAns_exact", "NoAns_f1" and "NoAns_exact" over the questions with and without an
// answer (where there are such), and the best that a threshold for `no_answer` could reach:
// "best_f1", "best_f1_thresh", "best_exact", "best_exact_thresh", as evaluate-v2.0.py finds them
// with `best_text` as predictions and `no_answer` in place of probabilities (equal ones in the
// order of the examples). "missing" is the share of questions without any answer, where there are
// such.
Metrics squad_metrics(std::span<const SquadExample> examples, std::span<const GivenAnswer> answers,
                      SquadVersion version);

}  // namespace quell

// Answers from stored start and end logits.
#pragma once

#include <vector>

#include "framework/task/task.h"
#include "tasks/data/squad_answers.h"
#include "tasks/data/squad_data.h"
#include "tasks/data/squad_metrics.h"
#include "tasks/data/squad_nbest.h"

namespace quell {

// What the task and `score` make of an answer: with v2.0 the difference of scores speaks for "no
// answer".
GivenAnswer given_answer(const SquadAnswer& answer);

// One entry for each example, absent texts for those without a window; `lists` receives their best
// answers. The file is that of score_squad(). Throws DataError naming file and tensor.
std::vector<GivenAnswer> answers_of_logits(const SquadData& data, const SquadAnswerOptions& answers,
                                           const ScoreOptions& options, NBestLists& lists);

}  // namespace quell

// Metrics of stored answers and stored logits.
#pragma once

#include <vector>

#include "framework/task/task.h"
#include "tasks/data/squad_answers.h"
#include "tasks/data/squad_data.h"

namespace quell {

// Scores `options.predictions` against the questions of `data`:
//
// - .jsonl: predictions.jsonl of a run, or lines with "id", "prediction_text" and, for all or none,
//   "no_answer_probability"; such rows may also be a JSON list or Parquet;
// - .safetensors: start_logits, end_logits [windows, tokens], offsets [windows, tokens, 2] and
//   example_index [windows], the number of each window's question in the data file, windows in
//   their order. All names may begin with one prefix and a dot, which `options.set` chooses;
// - otherwise the official JSON object from ids to answers.
//
// `options.no_answer_file` is a JSON object from ids to numbers, in place of these probabilities (0
// without either): answers whose number exceeds `options.no_answer_threshold` become "no answer".
// Logits of v2.0 bring their own differences of scores. Throws DataError naming file and place,
// also when no prediction belongs to a question.
//
// With logits the best answers are written into `nbest_file`, where one is named; ConfigError with
// anything else.
Metrics score_squad(const SquadData& data, const SquadAnswerOptions& answers,
                    const ScoreOptions& options, const std::filesystem::path& nbest_file = {});

}  // namespace quell

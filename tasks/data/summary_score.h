// ROUGE of summaries, fresh or stored.
#pragma once

#include <string>
#include <vector>

#include "framework/task/task.h"
#include "tasks/data/summary_data.h"

namespace quell {

struct SummaryScoring {
  bool use_stemmer = true;
  bool split_sentences = true;  // for rougeLsum, beyond the lines that texts already have
  bool precision_and_recall = false;
};

// Mean F of rouge1, rouge2, rougeL and rougeLsum, and behind them, where that is asked for,
// rouge1_precision, rouge1_recall, ...; entry i of both lists belongs together.
Metrics summary_metrics(const std::vector<std::string>& predictions,
                        const std::vector<std::string>& references, const SummaryScoring& scoring);

// Scores stored summaries: predictions.jsonl of a run; JSON lines with "prediction" or "summary" (a
// text); or a text file with one summary a line. "index" or "id" say which example of the data a
// JSON line belongs to; without them, and in text files, lines are in the order of the examples.
// Examples that are incomplete may lack a summary; one with an empty reference scores 0.
// Throws DataError with file:line when the two do not fit together.
Metrics score_summaries(const SummaryData& data, const ScoreOptions& options,
                        const SummaryScoring& scoring);

}  // namespace quell

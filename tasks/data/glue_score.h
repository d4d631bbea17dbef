// Metrics of GLUE predictions, fresh or stored.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/task/task.h"
#include "tasks/data/glue_data.h"
#include "tasks/data/glue_labels.h"

namespace quell {

// Metrics of one set; entry i of `predictions` is a class in the order of GLUE or a score for
// example i. Examples without a label do not count. The names end in "_matched" or "_mismatched"
// for the sets "dev_matched" and "dev_mismatched".
Metrics glue_metrics(const GlueSpec& spec, const std::string& set,
                     const std::vector<GlueExample>& examples,
                     const std::vector<double>& predictions);

// The class in the order of GLUE that the logits of one example choose, or its score.
double glue_prediction(const GlueSpec& spec, const LabelOrder& order,
                       const std::vector<float>& logits);

// Scores stored predictions: predictions.jsonl of a run; JSON lines with "logits" or "prediction"
// (a label name, its position in GLUE or a score) and optionally "index"; or the TSV of a GLUE
// submission ("index", "prediction"). Without "index" the lines are in the order of the examples.
// `encoding` is that of the data (read_text()).
//
// Logits are in the order of `options.labels`, else in the one that the "label" entries of the
// lines imply, else in the order of GLUE.
Metrics score_glue(const GlueSpec& spec, const ScoreOptions& options,
                   const std::string& encoding = "");

}  // namespace quell

// Predictions from a file, before they are compared with labels.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "framework/task/task.h"

namespace quell {

// One line of a predictions file: logits, or a prediction as text.
struct StoredPrediction {
  int64_t line = 0;
  std::optional<int64_t> index;
  std::optional<double> label;  // the model's class, in predictions of a run
  std::vector<float> logits;
  std::string prediction;  // a label name, a position or a score
};

struct StoredPredictions {
  std::string set;  // of a run, else empty
  std::vector<StoredPrediction> lines;
};

// Reads predictions.jsonl of a run (one set and one stage of it), simple JSON lines or a GLUE
// submission. Throws DataError with file:line for lines that are none of these, ConfigError when
// the set or stage must be chosen or does not exist.
StoredPredictions read_predictions(const ScoreOptions& options);

// The stage to read of `stages`, a JSON object from the stages of a run to what each gave: the one
// that is wanted, else "quantized", else the only one. Throws ConfigError naming `place`.
std::string choose_stage(const nlohmann::json& stages, const std::string& wanted,
                         const std::string& place);

}  // namespace quell

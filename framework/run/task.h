// What a model is evaluated on: data, batches and metrics.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/config/schema.h"
#include "framework/model/batch.h"
#include "framework/text/tokenizer.h"

namespace quell {

// Named output tensors of a model: "logits" [sequences, labels].
using Outputs = std::map<std::string, at::Tensor>;
// A forward pass, float or quantized.
using Predict = std::function<Outputs(const Batch&)>;

// Metrics in the order in which they are shown; fractions in [0, 1], correlations in [-1, 1].
// NaN where a metric is not defined (constant predictions for a correlation).
using Metrics = std::vector<std::pair<std::string, double>>;

// What a model produced for one example.
struct Prediction {
  std::string set;                                    // "dev", "dev_matched", ...
  int64_t index = 0;                                  // of the example in its file
  std::optional<double> label;                        // class index, or the target of a regression
  std::map<std::string, std::vector<float>> outputs;  // "logits" -> values
};

struct Evaluation {
  Metrics metrics;                      // the first one is the task's main metric
  std::vector<Prediction> predictions;  // in order of sets and indices
};

enum class Padding { kDrop, kKeep };

// The `calibration:` section of an experiment.
struct CalibrationOptions {
  int64_t samples = 256;
  std::string split = "train";          // train or dev
  std::string file;                     // instead of a split
  Padding padding = Padding::kDrop;
  int64_t pad_to = 0;                   // columns of attention matrices and length of kept padding

  template <class V>
  static void describe(V& v);
};

// What a task may know about the model that it feeds.
struct TaskContext {
  const Tokenizer* tokenizer = nullptr;       // absent when the model folder has none
  const nlohmann::json* model_config = nullptr;
  int64_t pad_id = 0;
  int64_t max_positions = 0;                  // longest sequence that the model takes
  int64_t vocabulary_size = 0;
};

class Task {
 public:
  virtual ~Task() = default;
  // Batches that observers and solvers see, in this order. `seed` draws the samples.
  virtual std::vector<Batch> calibration(const CalibrationOptions& options, uint64_t seed) = 0;
  // Runs `predict` over the evaluation data. `progress(done, total)` counts sequences.
  virtual Evaluation evaluate(const Predict& predict,
                              const std::function<void(int64_t, int64_t)>& progress) = 0;
  // Which examples calibration() drew, for the results file: indices into the calibration data.
  virtual std::vector<int64_t> calibration_indices() const = 0;
  // Files that were read, for environment.json.
  virtual std::vector<std::string> files() const = 0;
};

}  // namespace quell

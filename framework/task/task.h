// What a model is evaluated on: data, batches and metrics.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/error.h"
#include "framework/config/schema.h"
#include "framework/model/batch.h"
#include "framework/model/generation.h"
#include "framework/model/outputs.h"
#include "framework/model/training_data.h"
#include "framework/text/tokenizer.h"

namespace quell {

// A forward pass, float or quantized. Several threads may call it at once.
using Predict = std::function<Outputs(const Batch&)>;
// Runs all batches, in the way that the engine finds best.
using PredictAll = std::function<void(std::span<const Batch>, const OutputSink&)>;
// One sequence for each of the batch.
using Generate =
    std::function<std::vector<GeneratedSequence>(const Batch&, const GenerationOptions&)>;

// What a task may ask of a model.
struct Predictor {
  Predict predict;
  Generate generate = {};       // empty where the model writes no text
  PredictAll predict_all = {};  // empty: by predict(), batches side by side
};

// Runs the network over all batches.
void predict_all(const Predictor& predictor, std::span<const Batch> batches,
                 const OutputSink& sink);

// Metrics in the order in which they are shown: fractions in [0, 1] and correlations in [-1, 1], or
// what metric_names.h knows as another quantity.
// NaN where a metric is not defined (constant predictions for a correlation).
using Metrics = std::vector<std::pair<std::string, double>>;

// One of several texts for an example, with what the model thinks of it: "score" -> value.
struct RankedText {
  std::string text;
  std::map<std::string, float> numbers;
};

// What a model produced for one example.
struct Prediction {
  std::string set;                                    // "dev", "dev_matched", ...
  int64_t index = 0;                                  // 0-based row of the example in its file
  std::optional<double> label;                        // the model's class, or a regression's score
  std::map<std::string, std::vector<float>> outputs;  // "logits" -> values, as the model gave them
  std::string id = {};                       // of the example in its file, where it has one
  std::optional<std::string> text = {};      // the answer or the summary
  std::vector<std::string> more_texts = {};  // the next best ones, where they were asked for
  std::vector<RankedText> nbest = {};  // all candidates, the best first, where they were asked for
  // By which samples of different programs are compared: "doc_hash" -> SHA-256.
  std::map<std::string, std::string> hashes = {};
};

struct Evaluation {
  Metrics metrics;                      // the main one first; empty without labels
  std::vector<Prediction> predictions;  // in order of sets and indices
};

// What becomes of the padding of calibration batches.
enum class Padding {
  kDrop,        // not computed
  kUnobserved,  // computed; observers do not see it
  kKeep,        // computed; observers see it
};

template <>
struct EnumNames<Padding> {
  static constexpr std::pair<const char*, Padding> values[] = {
      {"drop", Padding::kDrop}, {"unobserved", Padding::kUnobserved}, {"keep", Padding::kKeep}};
};

// The `calibration:` section of an experiment.
struct CalibrationOptions {
  int64_t samples = 256;
  std::string split = "train";
  std::filesystem::path file;  // instead of a split
  int64_t batch_size = 0;      // 0: that of the task
  int64_t batches = 0;         // only the first ones; 0: all
  Padding padding = Padding::kDrop;
  int64_t pad_to = 0;  // columns of attention matrices, or length of padded sequences

  template <class V>
  static void describe(V& v) {
    v("samples", &CalibrationOptions::samples, "examples drawn without replacement", at_least(1));
    v("split", &CalibrationOptions::split, "where examples are drawn from",
      one_of({"train", "dev"}));
    v("file", &CalibrationOptions::file, "draw from this file instead of a split", existing_file());
    v("batch_size", &CalibrationOptions::batch_size, "sequences per batch; 0: that of the task",
      at_least(0));
    v("batches", &CalibrationOptions::batches, "use only the first batches; 0: all", at_least(0));
    v("padding", &CalibrationOptions::padding,
      "drop: not computed; unobserved: computed like tokens, but observers do not see it, as in "
      "published code; keep: observers see it, too");
    v("pad_to", &CalibrationOptions::pad_to,
      "columns of attention matrices, with computed padding the length of every sequence; 0: the "
      "longest sequence, with computed padding the maximum length of the task",
      at_least(0));
  }
};

// What a task may know about the model that it feeds.
struct TaskContext {
  const Tokenizer* tokenizer = nullptr;  // absent when the model folder has none
  const nlohmann::json* model_config = nullptr;
  int64_t pad_id = 0;
  int64_t max_positions = 0;  // longest sequence that the model takes
  int64_t vocabulary_size = 0;
  std::optional<GenerationOptions> generation = {};  // the model's defaults; absent where it writes
                                                     // no text
  bool is_language_model = false;  // without encoder: takes Batch::scored_ids and contexts
};

// What `quell score` is asked.
struct ScoreOptions {
  std::filesystem::path predictions;  // predictions.jsonl of a run, or what the task can read
  std::filesystem::path data;         // the examples with their labels
  std::string stage;                  // of a run; empty: "quantized", or the only one there is
  std::string set;                    // of a run; empty: the only one there is
  std::vector<std::string> labels;    // names of the model's classes in its order; empty: as found
  std::filesystem::path no_answer_file;  // of questions: how much speaks for "no answer", by id
  double no_answer_threshold = 1;        // more than this means "no answer"
};

// A plug-in of tasks/. Built as Class(const Params&, const TaskContext&). Without a model
// (TaskContext::model_config) it reads no data and can only score().
class Task {
 public:
  virtual ~Task() = default;
  // Batches that observers and solvers see, in this order. `seed` draws the samples. Labels are
  // the model's classes; undefined when some sample has none.
  virtual std::vector<Batch> calibration(const CalibrationOptions& options, uint64_t seed) = 0;
  // What the model can be trained on; null when the task has no such data.
  virtual TrainingData* training() { return nullptr; }
  // Adds to the batches of calibration() what the float network has to tell: targets that it
  // writes itself.
  virtual void complete_calibration(std::vector<Batch>&, const Predictor&) {}
  // Runs the network over the evaluation data. `progress(done, total)` counts sequences.
  virtual Evaluation evaluate(const Predictor& predictor,
                              const std::function<void(int64_t, int64_t)>& progress) = 0;
  // Which examples calibration() drew, for the results file: indices into the calibration data.
  virtual std::vector<int64_t> calibration_indices() const = 0;
  // Files that were read, for environment.json.
  virtual std::vector<std::string> files() const = 0;
  // What the user should know about the data, one sentence each: rows left out, ...
  virtual std::vector<std::string> notes() const { return {}; }
  // By which rules it evaluates, for the results file: "harness" -> "lm-evaluation-harness 0.4.13".
  virtual std::vector<std::pair<std::string, std::string>> protocol() const { return {}; }
  // The metrics of stored predictions. Throws DataError when the two files do not fit together.
  virtual Metrics score(const ScoreOptions&) const {
    throw ConfigError(
        "this task cannot score stored predictions; glue, squad and summarization can");
  }
};

}  // namespace quell

// An experiment: everything that a YAML file says, with every default filled in.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/schema.h"
#include "framework/outliers/outlier_options.h"
#include "framework/plugin/choice.h"
#include "framework/run/quant_rules.h"
#include "framework/task/task.h"

namespace quell {

// Points of a run at which the task is evaluated.
enum class Stage { kFloat, kTransformed, kWeightsOnly, kActivationsOnly, kQuantized };

template <>
struct EnumNames<Stage> {
  static constexpr std::pair<const char*, Stage> values[] = {
      {"float", Stage::kFloat},
      {"transformed", Stage::kTransformed},
      {"weights_only", Stage::kWeightsOnly},
      {"activations_only", Stage::kActivationsOnly},
      {"quantized", Stage::kQuantized}};
};

const char* to_string(Stage stage);

enum class ModelHead { kStored, kQuestionAnswering };

template <>
struct EnumNames<ModelHead> {
  static constexpr std::pair<const char*, ModelHead> values[] = {
      {"stored", ModelHead::kStored}, {"question_answering", ModelHead::kQuestionAnswering}};
};

enum class StatesIn { kMemory, kDisk };

template <>
struct EnumNames<StatesIn> {
  static constexpr std::pair<const char*, StatesIn> values[] = {{"memory", StatesIn::kMemory},
                                                                {"disk", StatesIn::kDisk}};
};

// For models that are larger than the memory.
struct ByLayerOptions {
  StatesIn states = StatesIn::kMemory;

  template <class V>
  static void describe(V& v) {
    v("states", &ByLayerOptions::states,
      "where what all batches hand from one layer to the next lies meanwhile");
  }
};

struct ModelOptions {
  std::string type;
  std::filesystem::path path;
  ModelHead head = ModelHead::kStored;
  std::optional<EngineChoice> engine;
  std::vector<std::string> device = {"cpu"};
  std::optional<int64_t> device_memory;
  std::optional<ByLayerOptions> by_layer;

  bool is_on_cpu() const { return device == std::vector<std::string>{"cpu"}; }

  template <class V>
  static void describe(V& v) {
    v("type", &ModelOptions::type, "model plug-in; empty: the model_type of config.json");
    v("path", &ModelOptions::path, "model folder in Hugging Face layout", required(),
      existing_folder());
    v("head", &ModelOptions::head,
      "question_answering: a new head with random weights in place of the stored one, to be "
      "trained");
    v("engine", &ModelOptions::engine,
      "who computes evaluations; absent: packed, but libtorch where calibration.padding is "
      "computed as published");
    v("device", &ModelOptions::device,
      "where the model runs: cpu, cuda, cuda:1, or [cuda:0, cuda:1], which take neighbouring "
      "layers "
      "each; ranges, scales and outputs are on the host",
      non_empty(), or_single());
    v("device_memory", &ModelOptions::device_memory,
      "MiB that what batches hand from one layer to the next may take on a GPU; what is beyond "
      "lies "
      "in the memory of the host; absent: no limit",
      at_least(0));
    v("by_layer", &ModelOptions::by_layer,
      "hold the tensors of one layer in memory at a time: every pass goes layer by layer over all "
      "batches; same results; {}: with the defaults");
  }
};

struct RecordOptions {
  bool site_errors = true;
  int64_t site_error_batches = 1;
  bool model = true;
  std::optional<OutlierOptions> outliers;

  template <class V>
  static void describe(V& v) {
    v("site_errors", &RecordOptions::site_errors,
      "signal-to-noise ratio and cosine similarity of every quantized activation");
    v("site_error_batches", &RecordOptions::site_error_batches,
      "calibration batches that they are computed on", at_least(1));
    v("model", &RecordOptions::model,
      "the model folder of a network that was trained: weights, config.json and tokenizer");
    v("outliers", &RecordOptions::outliers,
      "statistics of activations over the calibration set, in outliers.h5; {}: with the defaults");
  }
};

struct ExperimentSpec {
  std::string name;
  uint64_t seed = 42;
  int64_t threads = 0;
  ModelOptions model;
  TaskChoice task;
  CalibrationOptions calibration;
  QuantOptions quant;
  std::vector<StepChoice> pipeline = {StepChoice("calibrate")};
  std::vector<Stage> stages = {Stage::kFloat, Stage::kWeightsOnly, Stage::kActivationsOnly,
                               Stage::kQuantized};
  RecordOptions record;

  template <class V>
  static void describe(V& v) {
    v("name", &ExperimentSpec::name,
      "names the run folder: letters, digits and any of . _ = + -; for a path use --output",
      required(), non_empty());
    v("seed", &ExperimentSpec::seed, "of everything that is drawn at random");
    v("threads", &ExperimentSpec::threads, "CPU threads; 0: all cores", in_range(0, 1024));
    v("model", &ExperimentSpec::model, "what is quantized", required());
    v("task", &ExperimentSpec::task, "what it is evaluated on", required());
    v("calibration", &ExperimentSpec::calibration, "the data that observers and solvers see");
    v("quant", &ExperimentSpec::quant, "which sites are quantized, and how");
    v("pipeline", &ExperimentSpec::pipeline,
      "transforms and solvers, in the order in which they run; empty: float only");
    v("stages", &ExperimentSpec::stages, "points at which the task is evaluated", non_empty());
    v("record", &ExperimentSpec::record, "what is stored besides metrics and predictions");
  }
  static void check(const ExperimentSpec& spec, Report& report);
};

// The name of the engine that computes evaluations.
std::string engine_of(const ExperimentSpec& spec);

// Reads an experiment file with overrides. Rules of included files are written out in quant.rules,
// so that the result stands alone. All problems are thrown together as one ConfigError.
ExperimentSpec load_experiment(const std::filesystem::path& path,
                               const std::vector<std::string>& overrides, const Plugins& plugins);

// The same from a tree; what is wrong with it is added to `problems`.
ExperimentSpec read_experiment(const ConfigNode& node, const Plugins& plugins, Problems& problems);

}  // namespace quell

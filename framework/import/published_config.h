// The configuration files of the published code of "Outlier Suppression" (Wei et al., NeurIPS
// 2022), as far as quell has a counterpart of their keys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "framework/config/schema.h"
#include "framework/import/notes.h"

namespace quell::published {

// quant.a_qconfig, quant.w_qconfig
struct QuantizerSection {
  std::string quantizer;
  std::string observer;
  int64_t bit = 0;
  bool symmetric = false;
  int64_t ch_axis = -1;

  template <class V>
  static void describe(V& v) {
    v("quantizer", &QuantizerSection::quantizer, "class of the quantizer", required());
    v("observer", &QuantizerSection::observer, "class of the observer", required());
    v("bit", &QuantizerSection::bit, "bit width", required(), in_range(2, 16));
    v("symmetric", &QuantizerSection::symmetric, "zero point fixed at zero", required());
    v("ch_axis", &QuantizerSection::ch_axis, "-1: one scale per tensor, 0: one per row", required(),
      in_range(-1, 1));
  }
  static void check(const QuantizerSection& section, Report& report);
};

struct NormSection {
  bool delay = false;
  template <class V>
  static void describe(V& v) {
    v("delay", &NormSection::delay, "gamma migration");
  }
};

struct LearnSection {
  double lr = 1e-5;
  int64_t epoch = 3;
  template <class V>
  static void describe(V& v) {
    v("lr", &LearnSection::lr, "learning rate of the fine stage", greater_than(0));
    v("epoch", &LearnSection::epoch, "epochs of the fine stage", at_least(1));
  }
};

struct QuantSection {
  bool is_remove_padding = true;
  int64_t calibrate = 0;
  std::string backend = "academic";
  NormSection ln;
  std::optional<int64_t> iters;
  std::optional<double> step;
  std::optional<LearnSection> learn;
  QuantizerSection a_qconfig;
  QuantizerSection w_qconfig;

  template <class V>
  static void describe(V& v) {
    v("is_remove_padding", &QuantSection::is_remove_padding, "observers drop padding");
    v("calibrate", &QuantSection::calibrate, "calibration samples", required(), at_least(1));
    v("backend", &QuantSection::backend, "which nodes", one_of({"academic", "tensorrt"}));
    v("ln", &QuantSection::ln, "gamma migration");
    v("iters", &QuantSection::iters, "ratios of token-wise clipping", at_least(1));
    v("step", &QuantSection::step, "distance of the ratios", greater_than(0), at_most(0.5));
    v("learn", &QuantSection::learn, "fine stage");
    v("a_qconfig", &QuantSection::a_qconfig, "how activations are quantized", required());
    v("w_qconfig", &QuantSection::w_qconfig, "how weights are quantized", required());
  }
  static void check(const QuantSection& section, Report& report);
};

enum class DataKind { kGlue, kSquad, kSummarization };

struct DataSection {
  std::optional<std::string> task_name;
  std::optional<std::string> dataset_name;
  bool is_regression = false;
  int64_t max_seq_length = 128;
  bool pad_to_max_length = true;
  std::optional<int64_t> max_train_samples;
  std::optional<int64_t> max_eval_samples;
  std::optional<int64_t> doc_stride;
  std::optional<int64_t> n_best_size;
  std::optional<int64_t> max_answer_length;
  std::optional<double> null_score_diff_threshold;
  std::optional<int64_t> max_source_length;
  std::optional<int64_t> num_beams;
  std::optional<std::string> source_prefix;

  template <class V>
  static void describe(V& v) {
    v("task_name", &DataSection::task_name, "task of GLUE");
    v("dataset_name", &DataSection::dataset_name, "another data set");
    v("is_regression", &DataSection::is_regression, "one output, no classes");
    v("max_seq_length", &DataSection::max_seq_length, "tokens per sequence", at_least(4));
    v("pad_to_max_length", &DataSection::pad_to_max_length, "pad to that length");
    v("max_train_samples", &DataSection::max_train_samples, "only the first samples");
    v("max_eval_samples", &DataSection::max_eval_samples, "only the first samples");
    v("doc_stride", &DataSection::doc_stride, "tokens that windows share", at_least(0));
    v("n_best_size", &DataSection::n_best_size, "starts and ends per window", at_least(1));
    v("max_answer_length", &DataSection::max_answer_length, "in tokens", at_least(1));
    v("null_score_diff_threshold", &DataSection::null_score_diff_threshold, "for no answer");
    v("max_source_length", &DataSection::max_source_length, "tokens per article", at_least(4));
    v("num_beams", &DataSection::num_beams, "of beam search", at_least(1));
    v("source_prefix", &DataSection::source_prefix, "put before every article");
  }
  static void check(const DataSection& section, Report& report);
  DataKind kind() const;
  // `task_name` in lower case, as quell writes it, or `dataset_name`.
  std::string task() const;
  // Tokens that every sequence is padded to, of the encoder.
  int64_t longest() const {
    constexpr int64_t kUsualSource = 1024;
    return kind() == DataKind::kSummarization ? max_source_length.value_or(kUsualSource)
                                              : max_seq_length;
  }
};

struct ModelSection {
  std::string model_name_or_path;
  template <class V>
  static void describe(V& v) {
    v("model_name_or_path", &ModelSection::model_name_or_path, "the model", required(),
      non_empty());
  }
};

struct TrainSection {
  uint64_t seed = 42;
  int64_t per_device_eval_batch_size = 8;  // what the Trainer takes when nothing is said
  bool do_train = false;
  std::optional<int64_t> generation_max_length;
  template <class V>
  static void describe(V& v) {
    v("generation_max_length", &TrainSection::generation_max_length, "tokens of a summary",
      at_least(2));
    v("seed", &TrainSection::seed, "of everything that is drawn");
    v("per_device_eval_batch_size", &TrainSection::per_device_eval_batch_size,
      "sequences per batch, of the calibration, too", at_least(1));
    v("do_train", &TrainSection::do_train, "train, too");
  }
};

struct Config {
  QuantSection quant;
  DataSection data;
  ModelSection model;
  TrainSection train;

  template <class V>
  static void describe(V& v) {
    v("quant", &Config::quant, "what is quantized, and how", required());
    v("data", &Config::data, "the task", required());
    v("model", &Config::model, "the model", required());
    v("train", &Config::train, "seed and batch size");
  }
};

// Reads a file, and from the files that `root:` names one after another whole sections that are
// missing in it. Keys that are unknown or without a counterpart become notes. Throws ConfigError
// with everything else that is wrong: syntax, types, missing keys, a task that quell does not have.
Config load(const std::filesystem::path& file, ImportNotes& notes);

}  // namespace quell::published

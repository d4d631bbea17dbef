// A command of the published code of "Understanding and Overcoming the Challenges of Efficient
// Transformer Quantization" (Bondarenko et al., EMNLP 2021), as far as quell has a counterpart.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/import/command_words.h"
#include "framework/import/notes.h"
#include "framework/import/qualcomm_nodes.h"

namespace quell::published {

// Whether the words are a command of that code: they name one of its commands, or start with an
// option.
bool is_qualcomm_command(const std::vector<std::string>& words);

// --adaround and its options.
struct RoundingCommand {
  std::vector<std::string> layers;  // published names; empty: all
  int64_t samples = 1024;
  std::string grid = "range_estimator", mode = "learned_hard_sigmoid", decay = "cosine";
  bool asymmetric = true, with_activation_function = true;
  double learning_rate = 1e-3;
  int64_t iterations = 1000;
  double regularizer = 0.01;
  double beta_start = 20, beta_end = 2;
  double warmup = 0.2;
  bool quantizes_activations = true;  // afterwards
};

// The options of training.
struct TrainingCommand {
  double learning_rate = 5e-5, weight_decay = 0;
  double largest_gradient = 0;  // 0: gradients are not scaled down
  int64_t epochs = 3, warmup_steps = 0;
  std::optional<double> attention_dropout, hidden_dropout;
  bool learns_ranges = false, fixes_activations = false, fixes_weights = false;
  bool saves_model = false;
};

// The options with their published defaults.
struct QualcommCommand {
  bool quantizes = true;  // ...-quantized, not ...-baseline
  bool trains = false;    // train-..., not validate-...

  bool symmetric_weights = true, symmetric_activations = true;
  std::string weight_method = "current_minmax", weight_search = "grid";
  std::optional<int64_t> weight_candidates;
  int64_t weight_bits = 8, activation_bits = 8;
  bool per_channel = false;
  bool quantize_weights = true, quantize_activations = true;
  std::string setup = "all";

  std::string activation_method = "running_minmax", activation_search = "grid";
  std::optional<int64_t> activation_candidates;
  std::optional<double> momentum, percentile;
  std::string cross_entropy_layer;  // empty: none

  std::map<std::string, NodeSetting> nodes;  // --quant-dict
  bool per_embedding = false;
  std::optional<int64_t> groups;
  bool permute = false, permute_shared = false;
  std::optional<RoundingCommand> rounding;
  TrainingCommand training;

  int64_t seed = 1000;
  std::string task = "mrpc";
  std::string model_name = "bert_base_uncased", model_path;
  int64_t max_length = 128;
  bool pad = true;
  std::optional<bool> pad_estimation;
  int64_t batch_size = 8;
  std::optional<int64_t> evaluation_batch_size, estimation_batch_size;
  int64_t estimation_batches = 1;
  std::optional<int64_t> validation_samples, training_samples;
};

// Reads the words of a command. Options without an effect in quell or in that command become notes.
// Throws ConfigError with everything that is wrong: options that are unknown or have no
// counterpart, values that are none, and combinations that the published code refuses.
QualcommCommand read_qualcomm_command(const std::vector<std::string>& words, ImportNotes& notes);

}  // namespace quell::published

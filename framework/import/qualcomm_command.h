// A command of the published code of "Understanding and Overcoming the Challenges of Efficient
// Transformer Quantization" (Bondarenko et al., EMNLP 2021), as far as quell has a counterpart.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/import/notes.h"

namespace quell::published {

// The words of a shell command, or of a file with one: quotes, backslashes, lines that go on and
// comments. Throws ConfigError where a quote is not closed.
std::vector<std::string> shell_words(std::string_view text);
// Whether the words are a command of that code: they name one of its commands, or start with an
// option.
bool is_qualcomm_command(const std::vector<std::string>& words);

// What --quant-dict says about a node.
struct NodeSetting {
  enum class Kind { kBits, kFloat, kPerEmbedding, kGroups, kPermutedGroups };
  Kind kind = Kind::kBits;
  int64_t number = 0;  // of bits or groups

  bool operator==(const NodeSetting&) const = default;
};

// The options with their published defaults.
struct QualcommCommand {
  bool quantizes = true;  // validate-quantized, not validate-baseline

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

// Reads the words of a command. Options without an effect in quell become notes. Throws ConfigError
// with everything that is wrong: options that are unknown, unsupported or belong to another
// command, values that are none, and combinations that the published code refuses.
QualcommCommand read_qualcomm_command(const std::vector<std::string>& words, ImportNotes& notes);

}  // namespace quell::published

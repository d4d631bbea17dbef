// Ready token ids in a safetensors file, one group of tensors per batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/io/safetensors.h"
#include "framework/model/batch.h"

namespace quell {

// What the ids must obey.
struct TokenLimits {
  int64_t vocabulary_size = 0;
  int64_t max_positions = 0;
  int64_t pad_id = 0;
  bool mask_from_padding = false;  // without mask and lengths: trailing `pad_id`s are padding
  bool takes_positions = false;    // the model looks given position ids up as they are
};

// One batch of the file, in the order of its rows.
struct TokenGroup {
  std::string ids_key;
  std::vector<TokenSequence> sequences;          // all positions; valid_length from mask or lengths
  std::vector<TokenSequence> decoder_sequences;  // empty without decoder ids
  std::vector<double> labels;                    // empty without labels
  bool labels_are_scores = false;                // floating point in the file
  std::vector<int64_t> start_positions;          // empty without spans
  std::vector<int64_t> end_positions;
  std::vector<std::vector<int64_t>> position_ids;  // of all positions; empty: counted from 0
  std::vector<std::string> unread;                 // what else stands there: "logits"
  int64_t positions() const { return static_cast<int64_t>(sequences.front().ids.size()); }
};

// "b{}.input_ids", "3" -> "b3.input_ids".
std::string fill_template(const std::string& key_template, const std::string& batch);

// Reads the tensor `ids_key` [sequences, positions] and those beside it, whose names have another
// word in the place of the last "input_ids": attention_mask or lens, token_type_ids, position_ids,
// labels, decoder_input_ids with decoder_attention_mask, start_positions and end_positions. All are
// optional; `labels_key` names the labels when they are called otherwise. Throws DataError naming
// file and tensor: wrong type or shape, ids outside the vocabulary, padding that is not at the end,
// and a word that is none of these but looks like an input.
TokenGroup read_token_group(const SafetensorsFile& file, const std::string& ids_key,
                            const std::string& labels_key, const TokenLimits& limits);

// Batch names with ranges written out: "0-3" -> "0", "1", "2", "3".
std::vector<std::string> expand_ranges(const std::vector<std::string>& names);

}  // namespace quell

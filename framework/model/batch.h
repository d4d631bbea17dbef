// Packed batches: sequences one after another, without padding.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <span>
#include <vector>

namespace quell {

// One sequence as it comes from a tokenizer or a file of token ids.
struct TokenSequence {
  std::vector<int64_t> ids;
  std::vector<int64_t> segment_ids;  // same length as ids
  int64_t valid_length = -1;         // positions from here on are padding; -1: none is
};

// Order and composition of batches matter: running averages and sums of batch means depend on them.
struct Batch {
  at::Tensor token_ids;                // [tokens] int64
  at::Tensor segment_ids;              // [tokens] int64
  at::Tensor position_ids;             // [tokens] int64, 0-based within each sequence
  std::vector<int64_t> offsets;        // [sequences + 1], cumulative lengths
  std::vector<int64_t> valid_lengths;  // [sequences], real tokens at the start of each sequence
  bool padding_unobserved = false;     // observers do not see kept padding
  int64_t pad_to = 0;                  // columns of attention matrices; 0: the longest sequence
  at::Tensor labels;                   // [sequences] int64 or float32; undefined without labels
  std::vector<int64_t> example_ids;    // [sequences], the example that each sequence comes from

  // Decoder side of encoder-decoder models that write text; empty otherwise.
  at::Tensor decoder_token_ids;                // [decoder tokens] int64
  at::Tensor decoder_position_ids;             // [decoder tokens] int64
  std::vector<int64_t> decoder_offsets;        // [sequences + 1]
  std::vector<int64_t> decoder_valid_lengths;  // [sequences]
  int64_t decoder_pad_to = 0;  // columns of the decoder's attention; 0: the longest sequence
  // First and last token of the answer in its sequence, for question answering; undefined
  // otherwise.
  at::Tensor start_positions;  // [sequences] int64
  at::Tensor end_positions;    // [sequences] int64
  // Of each target token the id whose log-likelihood behind it is asked for; -1: none is. Where it
  // is defined, language models give "log_likelihood" [target tokens] float32 (0 where none is
  // asked for) in place of "logits".
  at::Tensor scored_ids;  // [target tokens] int64
  // With scored_ids: also "best_log_likelihood" [target tokens], that of the likeliest id.
  bool scores_best = false;
  // Of each sequence the one before it in the batch whose tokens, computed once, stand in front of
  // its own; -1: it begins a text. Position ids count on, a context has none itself, and only
  // sequences without padding, of a model without encoder, may have one. Empty: none has.
  std::vector<int64_t> contexts;

  int64_t tokens() const { return offsets.back(); }
  int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t length(int64_t sequence) const { return offsets[sequence + 1] - offsets[sequence]; }
  // The tokens that outputs per token belong to: the decoder's, or the sequences' own where there
  // is no decoder side.
  const std::vector<int64_t>& target_offsets() const {
    return decoder_token_ids.defined() ? decoder_offsets : offsets;
  }
  const std::vector<int64_t>& target_valid_lengths() const {
    return decoder_token_ids.defined() ? decoder_valid_lengths : valid_lengths;
  }
  const at::Tensor& target_position_ids() const {
    return decoder_token_ids.defined() ? decoder_position_ids : position_ids;
  }
  // Tokens in front of those of the sequence.
  int64_t context_length(int64_t sequence) const {
    return contexts.empty() || contexts[sequence] < 0 ? 0 : length(contexts[sequence]);
  }
  int64_t target_tokens() const { return target_offsets().back(); }
  int64_t target_pad_to() const { return decoder_token_ids.defined() ? decoder_pad_to : pad_to; }
  bool keeps_padding() const;  // some position of the sequences is padding
};

// Packs sequences in the given order. With `keep_padding_to` > 0 every sequence is filled up to
// that length with `pad_id` (segment 0): ordinary rows, but masked as attention keys and left out
// of losses and metrics. Otherwise positions from `valid_length` on are dropped.
Batch pack(std::span<const TokenSequence> sequences, int64_t keep_padding_to = 0,
           int64_t pad_id = 0);

// The same with `contexts` as Batch::contexts says, and nothing padded.
Batch pack_behind(std::span<const TokenSequence> sequences, std::vector<int64_t> contexts);

// Adds the decoder side to a batch of as many sequences; the rest as in pack().
void pack_decoder(Batch& batch, std::span<const TokenSequence> sequences,
                  int64_t keep_padding_to = 0, int64_t pad_id = 0);

}  // namespace quell

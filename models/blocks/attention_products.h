// The matrix products and the softmax of attention over packed sequences, differentiable.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <vector>

#include "framework/model/batch.h"

namespace quell {

// Where the attention matrix [heads, length, length] of each sequence lies in one buffer of all
// sequences: [sum of heads * lengths, columns], or, where rows need not be equally wide, compact
// blocks one after another in [elements, 1].
struct AttentionLayout {
  int64_t heads = 0;
  int64_t columns = 0;                 // of every row; 0: as many as the sequence is long
  std::vector<int64_t> tokens;         // [sequences + 1], first row of each sequence
  std::vector<int64_t> valid_lengths;  // [sequences]
  std::vector<int64_t> elements;       // [sequences + 1], begin of each matrix in the buffer

  // With `rows_needed` all rows have as many columns as the longest sequence, or Batch::pad_to.
  AttentionLayout(const Batch& batch, int64_t head_count, bool rows_needed);
  AttentionLayout(int64_t head_count, int64_t column_count, std::vector<int64_t> first_tokens,
                  std::vector<int64_t> valid);

  int64_t sequences() const { return static_cast<int64_t>(valid_lengths.size()); }
  int64_t length(int64_t sequence) const { return tokens[sequence + 1] - tokens[sequence]; }
};

// In all of these query, key, value and context are [tokens, heads * head size]. Sequences run side
// by side, each on one thread, so that results do not depend on the number of threads. Gradients
// are recorded where an input requires them; nothing but inputs (of the softmax its output) is
// kept.

// query times key; columns beyond a sequence are exact zeros.
at::Tensor attention_scores(const AttentionLayout& layout, const at::Tensor& query,
                            const at::Tensor& key);

// Softmax of scores / divisor over the valid keys of each sequence; 0 elsewhere. Overwrites
// `scores` unless gradients are recorded.
at::Tensor attention_probs(const AttentionLayout& layout, at::Tensor scores, double divisor);

// probs times value.
at::Tensor attention_context(const AttentionLayout& layout, const at::Tensor& probs,
                             const at::Tensor& value);

}  // namespace quell

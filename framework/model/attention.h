// Scaled dot-product attention over packed sequences: its two products and the softmax between
// them, differentiable.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <memory>
#include <vector>

#include "framework/model/batch.h"

namespace quell {

// Which rows attend to which. Sequence i has its queries in the rows queries[i] .. queries[i + 1]
// of one tensor and its keys in the rows keys[i] .. keys[i + 1] of another.
struct AttentionSpans {
  std::vector<int64_t> queries;     // [sequences + 1]
  std::vector<int64_t> keys;        // [sequences + 1]
  std::vector<int64_t> valid_keys;  // [sequences], real keys at the start of each sequence
  // The last query sees all keys, and each one before it one key less.
  bool causal = false;
  int64_t pad_to = 0;  // columns of rows that must be equally wide; 0: the longest
  // Where sequences share a context: of each key its row among the packed ones, [keys.back()]
  // int64. Undefined: keys are the packed rows themselves.
  at::Tensor key_rows = {};

  int64_t sequences() const { return static_cast<int64_t>(valid_keys.size()); }
  int64_t query_count(int64_t sequence) const { return queries[sequence + 1] - queries[sequence]; }
  int64_t key_count(int64_t sequence) const { return keys[sequence + 1] - keys[sequence]; }
};
using SharedSpans = std::shared_ptr<const AttentionSpans>;

// Every token of a sequence attends to all of them.
SharedSpans self_attention_spans(const Batch& batch);
// One query of each sequence, that attends to the same keys.
AttentionSpans one_query_spans(const AttentionSpans& spans);
// Every token of the decoder attends to the decoder's tokens up to itself.
SharedSpans causal_attention_spans(const Batch& batch);
// Every token of the decoder attends to the encoder's tokens.
SharedSpans cross_attention_spans(const Batch& batch);

struct AttentionShape {
  int64_t heads = 0;
  // Heads of keys and values, each of which is read by as many neighbouring heads of queries
  // (Ainslie et al. 2023).
  int64_t key_heads = 0;
  double divisor = 1;  // of scores
  // Of each head: this times the position of a key is added to its scores (ALiBi, Press et al.
  // 2022); empty: nothing is.
  std::vector<float> slopes = {};
};

// Where the attention matrix [heads, queries, keys] of each sequence lies in one buffer of all
// sequences: [sum of heads * queries, columns], or, where rows need not be equally wide, compact
// blocks one after another in [elements, 1].
struct AttentionLayout {
  SharedSpans spans;
  AttentionShape shape;
  int64_t columns = 0;            // of every row; 0: as many as the sequence has keys
  std::vector<int64_t> elements;  // [sequences + 1], begin of each matrix in the buffer

  // With `rows_needed` all rows have as many columns as the longest sequence has keys, or `pad_to`.
  AttentionLayout(SharedSpans attention_spans, AttentionShape attention_shape, bool rows_needed);
};

// In all of these query and context are [query rows, heads * head size], key and value [key rows,
// key heads * head size]. Sequences run side by side, each on one thread, so that results do not
// depend on the number of threads. Gradients are recorded where an input requires them; nothing but
// inputs (of the softmax its output) is kept.

// query times key; columns beyond a sequence are exact zeros.
at::Tensor attention_scores(const AttentionLayout& layout, const at::Tensor& query,
                            const at::Tensor& key);

// Softmax of scores / divisor over the keys that each query sees; 0 elsewhere. Overwrites `scores`
// unless gradients are recorded.
at::Tensor attention_probs(const AttentionLayout& layout, at::Tensor scores);

// probs times value.
at::Tensor attention_context(const AttentionLayout& layout, const at::Tensor& probs,
                             const at::Tensor& value);

}  // namespace quell

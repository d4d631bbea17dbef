// Attention of packed sequences in one go: of each query the softmax of its products with the keys,
// times the values. Scores and probabilities exist only while they are in the cache.
//
// A value depends on its query and on the keys and values of its sequence alone, by sums in a fixed
// order: a score adds the features in order by fused multiply-adds, starting at +0, is multiplied
// by `factor`, and has slope * position added by another one; exponentials of scores less the
// largest are added in 16 sums, that of key j to sum j mod 16, which are then added by halves; the
// exponentials times values are added over the keys in order, and the result is multiplied by the
// reciprocal of the exponentials' sum; where probabilities have a grid, they are divided by it
// instead, and rounded, before they are multiplied. So neither other rows, threads nor the
// instruction set show in the bits, as long as it has fused multiply-adds.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "framework/kernels/grid.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

// Rows with the values of all heads one after another, `stride` floats from row to row.
struct HeadRows {
  const float* values;
  int64_t stride;
};

// A grid for the elements of a matrix, which are rounded to it as in fake_quantize.h.
struct MatrixGrid {
  float scale, zero_point;
  Levels levels;
};

struct AttentionOperands {
  HeadRows query;            // heads * head_size values a row
  HeadRows key, value;       // key_heads * head_size values a row
  int64_t heads, key_heads;  // heads / key_heads neighbouring heads read one head of the keys
  int64_t head_size;
  float factor = 1;               // of scores, positive
  const float* slopes = nullptr;  // [heads], times a key's position; null: not added
  bool causal = false;            // the last query sees all keys, each one before it one key less
  std::optional<MatrixGrid> scores = {};  // of the sums of products, in front of `factor`
  std::optional<MatrixGrid> probs = {};   // of exponentials divided by their sum
};

// Of one sequence: its rows among the queries, and those among keys and values.
struct AttentionSequence {
  int64_t first_query, queries, first_key, keys;
  int64_t valid_keys;  // others are not seen
};

// context [rows of queries, heads * head_size], row-major, is written for all sequences. A query
// that sees no key gets NaN, and so does one with a score that is NaN or infinite.
void attention(const AttentionOperands& of, std::span<const AttentionSequence> sequences,
               float* context, ParallelFor parallel_for = serial_for);

}  // namespace quell::kernels

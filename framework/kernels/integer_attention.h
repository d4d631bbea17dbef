// Attention of packed sequences by integer codes, in one go: of each query the softmax of its
// products with the keys, on a grid, times the values. Both products are sums of products of
// codes, exact in int32, as in integer_product.h:
//
//   score = float(sum of (query - zero) * (key - zero)) * (query scale * key scale),
//   on a grid where there is one, times `factor`, and then the softmax of attention.h;
//   its quotients as codes of the grid `probs`;
//   context = float(sum of (prob - zero) * (value - zero)) * (probs scale * value scale),
//
// on the grid of the output. Neither other rows, threads nor the instruction set show in the bits,
// as long as it has fused multiply-adds.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "framework/kernels/attention.h"
#include "framework/kernels/integer_product.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

// Rows with the codes of all heads one after another, `stride` bytes from row to row.
struct HeadCodes {
  const uint8_t* codes;
  int64_t stride;
  float scale, zero_point;  // an integer in [-256, 256]
};

struct IntegerAttentionOperands {
  HeadCodes query;                // heads * head_size codes a row
  HeadCodes key, value;           // key_heads * head_size codes a row
  int64_t heads, key_heads;       // heads / key_heads neighbouring heads read one head of the keys
  int64_t head_size;              // at most kMostInputs
  float factor = 1;               // of scores, positive
  const float* slopes = nullptr;  // [heads], times a key's position; null: not added
  bool causal = false;            // the last query sees all keys, each one before it one key less
  std::optional<MatrixGrid> scores = {};  // of the sums of products, in front of `factor`
  OutputGrid probs = {};
};

// The context [rows of queries, heads * head_size], of all sequences. Each of them has at most
// IntegerWeight::kMostInputs keys. `output.sums` is not written. False, and nothing of use is
// written, where a query sees no key, or a score is NaN or infinite: such probabilities have no
// codes.
bool integer_attention(const IntegerAttentionOperands& of,
                       std::span<const AttentionSequence> sequences, const IntegerOutput& output,
                       ParallelFor parallel_for = serial_for);

}  // namespace quell::kernels

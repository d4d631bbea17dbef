// Attention matrices of a batch without the columns that pad them.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <vector>

#include "framework/model/batch.h"
#include "framework/outliers/calibration_tokens.h"
#include "framework/outliers/site_summary.h"
#include "framework/quant/site.h"

namespace quell {

// The queries and keys of an attention site: which side of the model they come from.
struct AttentionSides {
  bool target_queries = false;  // the decoder's tokens
  bool target_keys = false;
};
// From the name of the site: "decoder.0.cross_attention.probs".
AttentionSides attention_sides(const Site& site);

// The matrices [heads, queries, keys] of all sequences, one after another in `values`.
struct AttentionValues {
  int64_t heads = 0;
  std::vector<int64_t> queries, keys;  // [sequences]
  std::vector<int64_t> begin;          // [sequences + 1], into values
  const float* values = nullptr;       // [begin.back()]
  at::Tensor memory;                   // that holds them

  int64_t size() const { return begin.back(); }
  int64_t sequences() const { return static_cast<int64_t>(queries.size()); }
  int64_t head_size(int64_t sequence) const { return queries[sequence] * keys[sequence]; }
};

// `matrices` as a tap sees them, contiguous: compact, of which nothing is copied; or rows of equal
// widths, of which columns behind the keys of a sequence are dropped.
AttentionValues attention_values(const Batch& batch, AttentionSides sides, int64_t heads,
                                 const at::Tensor& matrices);

// Sums over the queries of probabilities that go to the first, the last and the separating tokens.
class AttentionSums {
 public:
  // `first_token`: where the batch's keys begin in `keys`.
  void add(const AttentionValues& probs, const Batch& batch, AttentionSides sides,
           const TokenColumns& keys, int64_t first_token);
  AttentionMass mean() const;

 private:
  int64_t queries_ = 0;
  AttentionMass sums_;
};

}  // namespace quell

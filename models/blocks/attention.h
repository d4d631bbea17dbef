// Scaled dot-product attention over packed sequences.
#pragma once

#include <ATen/core/Tensor.h>

#include "framework/model/batch.h"
#include "framework/quant/context.h"

namespace quell {

struct AttentionSites {
  SiteId scores = kNoSite;  // query times key, before scaling and mask
  SiteId probs = kNoSite;
  SiteId context = kNoSite;
};

// Attention within each sequence of the batch: query, key, value [tokens, heads * head size],
// already quantized. Returns the quantized context [tokens, heads * head size].
//
// Scores and probabilities exist only inside: as [heads * queries, keys] per sequence, or, where a
// site needs true rows, as one [sum of heads * queries, columns] matrix with as many columns as the
// longest sequence (or Batch::pad_to), whose columns beyond a sequence are exact zeros.
at::Tensor self_attention(const Batch& batch, QuantContext& context, const AttentionSites& sites,
                          int64_t heads, const at::Tensor& query, const at::Tensor& key,
                          const at::Tensor& value);

}  // namespace quell

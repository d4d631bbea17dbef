// Scaled dot-product attention over packed sequences.
#pragma once

#include <ATen/core/Tensor.h>

#include "framework/quant/context.h"
#include "models/blocks/attention_products.h"

namespace quell {

struct AttentionSites {
  SiteId scores =
      kNoSite;  // query times key, before scaling and mask; some models have no such site
  SiteId probs = kNoSite;
  SiteId context = kNoSite;
};

// Attention within each sequence: query [query rows, heads * head size], key and value [key rows,
// heads * head size], already quantized. Scores are divided by `divisor`. Returns the quantized
// context [query rows, heads * head size].
//
// Scores and probabilities exist only inside: as [heads * queries, keys] per sequence, or, where a
// site needs true rows, as one [sum of heads * queries, columns] matrix with as many columns as the
// longest sequence has keys (or AttentionSpans::pad_to), whose columns beyond a sequence are exact
// zeros.
at::Tensor attention(const AttentionSpans& spans, QuantContext& context,
                     const AttentionSites& sites, int64_t heads, double divisor,
                     const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);

}  // namespace quell

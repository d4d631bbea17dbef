#include "models/blocks/attention.h"

namespace quell {

at::Tensor attention(const AttentionSpans& spans, QuantContext& context,
                     const AttentionSites& sites, int64_t heads, double divisor,
                     const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const bool has_scores = sites.scores != kNoSite;
  const bool equal_widths = (has_scores && context.needs_equal_widths(sites.scores)) ||
                            context.needs_equal_widths(sites.probs);
  const AttentionLayout layout(spans, heads, equal_widths);
  at::Tensor scores = attention_scores(layout, query, key);
  if (has_scores) scores = context.activation(sites.scores, std::move(scores));
  at::Tensor probs =
      context.activation(sites.probs, attention_probs(layout, std::move(scores), divisor));
  probs = context.dropout(DropoutPlace::kAttention, std::move(probs));
  return context.activation(sites.context, attention_context(layout, probs, value));
}

}  // namespace quell

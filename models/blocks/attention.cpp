#include "models/blocks/attention.h"

#include <cmath>

#include "models/blocks/attention_products.h"

namespace quell {

at::Tensor self_attention(const Batch& batch, QuantContext& context, const AttentionSites& sites,
                          int64_t heads, const at::Tensor& query, const at::Tensor& key,
                          const at::Tensor& value) {
  const bool rows_needed = context.needs_rows(sites.scores) || context.needs_rows(sites.probs);
  const AttentionLayout layout(batch, heads, rows_needed);
  const double divisor = std::sqrt(static_cast<double>(query.size(1) / heads));
  at::Tensor scores = context.activation(sites.scores, attention_scores(layout, query, key));
  at::Tensor probs =
      context.activation(sites.probs, attention_probs(layout, std::move(scores), divisor));
  probs = context.dropout(DropoutPlace::kAttention, std::move(probs));
  return context.activation(sites.context, attention_context(layout, probs, value));
}

}  // namespace quell

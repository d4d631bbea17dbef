#include "framework/model/packed_attention.h"

#include <ATen/ops/empty.h>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"

namespace quell {

std::optional<kernels::MatrixGrid> matrix_grid(const SitePoint* point) {
  if (point == nullptr) return std::nullopt;
  const QuantParameters of = point->quantizer->parameters();
  return kernels::MatrixGrid{of.scale.const_data_ptr<float>()[0],
                             of.zero_point.const_data_ptr<float>()[0], of.levels};
}

std::vector<kernels::AttentionSequence> attention_sequences(const AttentionSpans& spans) {
  std::vector<kernels::AttentionSequence> sequences;
  sequences.reserve(static_cast<size_t>(spans.sequences()));
  for (int64_t i = 0; i < spans.sequences(); ++i) {
    sequences.push_back({spans.queries[i], spans.query_count(i), spans.keys[i], spans.key_count(i),
                         spans.valid_keys[i]});
  }
  return sequences;
}

at::Tensor packed_attention(const AttentionSpans& spans, const AttentionShape& shape,
                            const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const AttentionGrids& grids) {
  QUELL_ASSERT(query.stride(1) == 1 && key.stride(1) == 1 && value.stride(1) == 1,
               "features one after another");
  const auto rows_of = [](const at::Tensor& rows) {
    return kernels::HeadRows{rows.const_data_ptr<float>(), rows.stride(0)};
  };
  const kernels::AttentionOperands operands{
      .query = rows_of(query),
      .key = rows_of(key),
      .value = rows_of(value),
      .heads = shape.heads,
      .key_heads = shape.key_heads,
      .head_size = query.size(1) / shape.heads,
      .factor = static_cast<float>(1 / shape.divisor),
      .slopes = shape.slopes.empty() ? nullptr : shape.slopes.data(),
      .causal = spans.causal,
      .scores = matrix_grid(grids.scores),
      .probs = matrix_grid(grids.probs)};
  at::Tensor context = at::empty({query.size(0), query.size(1)}, query.options());
  kernels::attention(operands, attention_sequences(spans), context.mutable_data_ptr<float>(),
                     parallel_for);
  return context;
}

}  // namespace quell

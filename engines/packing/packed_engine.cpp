#include "engines/packing/packed_engine.h"

#include <ATen/ops/empty.h>
#include <memory>
#include <optional>
#include <vector>

#include "framework/base/error.h"
#include "framework/kernels/attention.h"
#include "framework/kernels/norm.h"
#include "framework/quant/parallel.h"

namespace quell {

namespace {

// Of a site with one scale.
std::optional<kernels::MatrixGrid> matrix_grid(const SitePoint* point) {
  if (point == nullptr) return std::nullopt;
  const QuantParameters of = point->quantizer->parameters();
  return kernels::MatrixGrid{of.scale.const_data_ptr<float>()[0],
                             of.zero_point.const_data_ptr<float>()[0], of.levels};
}

}  // namespace

Rows PackedEngine::linear(const Product& of) const {
  const at::Tensor &rows = of.rows.values, weight = of.weight.values();
  QUELL_ASSERT(rows.dim() == 2 && rows.scalar_type() == at::kFloat, "rows [n, inputs] of float32");
  const auto by = packed_.get(weight, {}, 0, [&] {
    const at::Tensor dense = weight.contiguous();
    return std::make_shared<const kernels::PackedWeight>(dense.const_data_ptr<float>(),
                                                         dense.size(0), dense.size(1));
  });
  const at::Tensor dense = rows.contiguous();
  at::Tensor result = at::empty({dense.size(0), by->outputs()}, dense.options());
  kernels::Epilogue epilogue{.activation = of.activation};
  if (of.bias.defined()) epilogue.bias = of.bias.const_data_ptr<float>();
  kernels::packed_product(dense.const_data_ptr<float>(), dense.size(0), *by, epilogue,
                          result.mutable_data_ptr<float>(), parallel_for);
  if (of.grid == nullptr) return {result};
  return quantize(*of.grid, result, /*in_place=*/true);
}

at::Tensor PackedEngine::attention(const AttentionSpans& spans, const AttentionShape& shape,
                                   const at::Tensor& query, const at::Tensor& key,
                                   const at::Tensor& value, const AttentionGrids& grids) const {
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
  std::vector<kernels::AttentionSequence> sequences;
  sequences.reserve(static_cast<size_t>(spans.sequences()));
  for (int64_t i = 0; i < spans.sequences(); ++i) {
    sequences.push_back({spans.queries[i], spans.query_count(i), spans.keys[i], spans.key_count(i),
                         spans.valid_keys[i]});
  }
  at::Tensor context = at::empty({query.size(0), query.size(1)}, query.options());
  kernels::attention(operands, sequences, context.mutable_data_ptr<float>(), parallel_for);
  return context;
}

at::Tensor PackedEngine::norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                              const at::Tensor& added) const {
  if (norm.kind != NormKind::kLayer) return Engine::norm(norm, gamma, rows, added);
  const at::Tensor dense = rows.contiguous();
  at::Tensor result = at::empty({dense.size(0), dense.size(1)}, dense.options());
  const at::Tensor other = added.defined() ? added.contiguous() : added;
  kernels::layer_norm({gamma.const_data_ptr<float>(),
                       norm.bias.defined() ? norm.bias.const_data_ptr<float>() : nullptr,
                       static_cast<float>(norm.epsilon)},
                      dense.const_data_ptr<float>(),
                      other.defined() ? other.const_data_ptr<float>() : nullptr, dense.size(0),
                      dense.size(1), result.mutable_data_ptr<float>(), parallel_for);
  return result;
}

}  // namespace quell

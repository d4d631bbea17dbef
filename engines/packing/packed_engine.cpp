#include "engines/packing/packed_engine.h"

#include <ATen/ops/empty.h>
#include <memory>

#include "framework/base/error.h"
#include "framework/kernels/norm.h"
#include "framework/model/packed_attention.h"
#include "framework/quant/parallel.h"

namespace quell {

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

Rows PackedEngine::attention(const AttentionSpans& spans, const AttentionShape& shape,
                             const Rows& query, const Rows& key, const Rows& value,
                             const AttentionGrids& grids) const {
  const at::Tensor context =
      packed_attention(spans, shape, query.values, key.values, value.values, grids);
  if (grids.context == nullptr) return {context};
  return quantize(*grids.context, context, /*in_place=*/true);
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

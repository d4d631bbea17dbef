#include "framework/model/engine.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>

#include "framework/base/error.h"

namespace quell {

Rows Engine::linear(const Product& of) const {
  QUELL_ASSERT(of.activation == kernels::Activation::kNone,
               "an activation for an engine that joins");
  const at::Tensor result = at::linear(of.rows.values, of.weight.values(), of.bias);
  if (of.grid == nullptr) return {result};
  return quantize(*of.grid, result, /*in_place=*/!at::GradMode::is_enabled());
}

Rows Engine::quantize(const SitePoint& point, const at::Tensor& rows, bool in_place) const {
  return {point.quantizer->apply(rows, in_place), &point};
}

Rows Engine::attention(const AttentionSpans& spans, const AttentionShape& shape, const Rows& query,
                       const Rows& key, const Rows& value, const AttentionGrids& grids) const {
  QUELL_ASSERT(grids.scores == nullptr && grids.probs == nullptr, "grids of attention");
  const AttentionLayout layout(std::make_shared<const AttentionSpans>(spans), shape,
                               /*rows_needed=*/false);
  const at::Tensor scores = attention_scores(layout, query.values, key.values);
  const at::Tensor context =
      attention_context(layout, attention_probs(layout, scores), value.values);
  if (grids.context == nullptr) return {context};
  return quantize(*grids.context, context, /*in_place=*/true);
}

at::Tensor Engine::norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                        const at::Tensor& added) const {
  const at::Tensor sum = added.defined() ? rows.add(added) : rows;
  switch (norm.kind) {
    case NormKind::kLayer:
      return at::layer_norm(sum, {sum.size(-1)}, gamma, norm.bias, norm.epsilon);
    case NormKind::kRms: {
      const at::Tensor mean = sum.mul(sum).mean(-1, /*keepdim=*/true);
      at::Tensor result = at::mul(gamma, sum.mul(at::rsqrt(mean.add(norm.epsilon))));
      return norm.bias.defined() ? result.add_(norm.bias) : result;
    }
    case NormKind::kNone:
      return at::mul(sum, gamma).add_(norm.bias);
  }
  QUELL_ASSERT(false, "unhandled kind of norm");
}

}  // namespace quell

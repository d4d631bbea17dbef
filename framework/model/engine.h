// Who computes the operations of a pass.
#pragma once

#include <ATen/core/Tensor.h>

#include "framework/kernels/activation.h"
#include "framework/model/attention.h"
#include "framework/model/operands.h"

namespace quell {

// In place of LibTorch, whose operations have the published bits. All tensors are float32, no
// gradients are recorded, and several threads may call it at once.
class Engine {
 public:
  virtual ~Engine() = default;
  // activation(rows [n, inputs] * weight [outputs, inputs]^T + bias [outputs], which may be
  // undefined).
  virtual at::Tensor linear(const at::Tensor& rows, const at::Tensor& weight,
                            const at::Tensor& bias, kernels::Activation activation) const = 0;
  // The context of attention, as the three functions of attention.h one after another give it.
  virtual at::Tensor attention(const AttentionSpans& spans, const AttentionShape& shape,
                               const at::Tensor& query, const at::Tensor& key,
                               const at::Tensor& value) const = 0;
  // LayerNorm by `norm` of rows + added [n, features], which may be undefined; gamma is that of the
  // pass.
  virtual at::Tensor layer_norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                                const at::Tensor& added) const = 0;
};

}  // namespace quell

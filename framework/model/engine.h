// Who computes the operations of a pass.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>

#include "framework/kernels/activation.h"
#include "framework/model/attention.h"
#include "framework/model/operands.h"

namespace quell {

// LibTorch, with the bits of published code. A plug-in of engines/ overrides what it computes
// itself; it is never asked where gradients are recorded, and several threads may call it at once.
// All tensors are float32.
class Engine {
 public:
  virtual ~Engine() = default;
  // Whether it is given several operations as one, where nothing happens between them: then it
  // overrides all three of them.
  virtual bool joins() const { return false; }
  // activation(rows [n, inputs] * weight [outputs, inputs]^T + bias [outputs], which may be
  // undefined); an activation comes to engines that join.
  virtual at::Tensor linear(const at::Tensor& rows, const at::Tensor& weight,
                            const at::Tensor& bias,
                            kernels::Activation activation = kernels::Activation::kNone) const;
  // The context of attention, as the three functions of attention.h one after another give it.
  virtual at::Tensor attention(const AttentionSpans& spans, const AttentionShape& shape,
                               const at::Tensor& query, const at::Tensor& key,
                               const at::Tensor& value) const;
  // `norm` of rows + added [n, features], which may be undefined; gamma is that of the pass.
  virtual at::Tensor norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                          const at::Tensor& added) const;
  // That it holds beside the model's tensors.
  virtual int64_t bytes() const { return 0; }
};

}  // namespace quell

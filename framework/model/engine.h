// Who computes the products of a pass.
#pragma once

#include <ATen/core/Tensor.h>

namespace quell {

// In place of LibTorch, whose products have the published bits. Several threads may call it at
// once.
class Engine {
 public:
  virtual ~Engine() = default;
  // rows [n, inputs] * weight [outputs, inputs]^T + bias [outputs], which may be undefined; all
  // float32. No gradients are recorded.
  virtual at::Tensor linear(const at::Tensor& rows, const at::Tensor& weight,
                            const at::Tensor& bias) const = 0;
};

}  // namespace quell

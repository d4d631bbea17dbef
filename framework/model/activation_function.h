// Nonlinearities of linears that kernels compute, too.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>

#include "framework/kernels/activation.h"

namespace quell {

// What Linear::nonlinearity holds, so that whoever looks at the linear finds the kernel as well.
struct ActivationFunction {
  kernels::Activation kernel = kernels::Activation::kNone;  // kNone: there is none
  std::function<at::Tensor(at::Tensor outputs)> apply;

  at::Tensor operator()(at::Tensor outputs) const { return apply(std::move(outputs)); }
};

// The kernel that computes a nonlinearity; kNone for others, and for an empty one.
inline kernels::Activation kernel_of(
    const std::function<at::Tensor(at::Tensor outputs)>& nonlinearity) {
  const auto* known = nonlinearity.target<ActivationFunction>();
  return known == nullptr ? kernels::Activation::kNone : known->kernel;
}

}  // namespace quell

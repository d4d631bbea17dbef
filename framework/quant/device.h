// Where the memory of a tensor is, for kernels/dispatch.h.
#pragma once

#include <ATen/core/Tensor.h>

#include "framework/kernels/dispatch.h"

namespace quell {

// The CPU, with LibTorch's threads.
kernels::Device host_device();

// Models run on the CPU so far: asserts that the tensor is there.
kernels::Device kernel_device(const at::Tensor& tensor);

}  // namespace quell

// Operations that the published quantizers are composed of, in the sequence of their code.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>

namespace quell::published {

// Rounded, with the gradient of x.
at::Tensor round_straight_through(const at::Tensor& x);

// The value of `t`, its gradient times `factor`.
at::Tensor scale_gradient(const at::Tensor& t, double factor);

// Fake quantization; scale and zero point broadcast against x.
at::Tensor quantize_dequantize(const at::Tensor& x, const at::Tensor& scale,
                               const at::Tensor& zero_point, int64_t low, int64_t high);

}  // namespace quell::published

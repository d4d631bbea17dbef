// Fake quantization that gradients pass through: one autograd function that keeps nothing but its
// input and the parameters of the grid. Backward is framework/kernels/fake_quantize_gradient.h; the
// result has no second derivative.
#pragma once

#include <optional>

#include "framework/quant/spec.h"

namespace quell {

// The order of values in which published code adds the gradients of a tensor that belongs to heads:
// [sequences, heads, length, head size], or transposed [sequences, heads, head size, length].
struct HeadOrder {
  int64_t heads = 0;  // 0: the order of rows
  int64_t length = 0;
  bool transposed = false;
};

// How the parameters of a grid are learned: Outlier Suppression's LSQFakeQuantize and
// LSQPlusFakeQuantize. The default is a grid that is not.
struct LearningRule {
  // Gradients of the learned parameters are multiplied by gradient_factor().
  bool gradient_scaling = false;
  // Zero points are any numbers, rounded where they are used (LSQ+).
  bool learned_zero_point = false;
  // Gradients by the operations that PyTorch derives from the published ones, in float32 and in
  // their order, for results with the same bits: slower, and sums are less exact. One scale only.
  std::optional<HeadOrder> published = {};
};

// 1 / sqrt(values * highest_level), in double as in the published code, then float32. `values` is
// the number of elements that share one scale.
float gradient_factor(int64_t values, float highest_level);

// The parameters that quantization uses when it is learned. Zero points are rounded; with gradient
// scaling both are (t - t * g) + t * g in float32, as published, which now and then differs from t
// by one unit in the last place; zero points stay integers. `values`: how many elements share each
// scale, or one number for all scales.
QuantParameters effective_parameters(const QuantParameters& parameters, const LearningRule& rule,
                                     at::IntArrayRef values);

// fake_quantize() with the effective parameters. While gradients are recorded nothing is done in
// place, and gradients reach `rows`, parameters.scale and parameters.zero_point where they require
// them.
at::Tensor fake_quantize_learned(const at::Tensor& rows, const QuantParameters& parameters,
                                 const QuantSpec& spec, const LearningRule& rule, bool in_place);

// fake_quantize_dynamic(), likewise. The gradient takes the scale of each token or group for a
// constant.
at::Tensor fake_quantize_dynamic_straight_through(const at::Tensor& rows, const QuantSpec& spec,
                                                  bool in_place);

}  // namespace quell

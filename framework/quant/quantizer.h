// Quantizers map values to a grid and back.
#pragma once

#include <string>
#include <vector>

#include "framework/quant/spec.h"

namespace quell {

// What gradient descent may change of a quantizer. `tensor` is the quantizer's own: a change in
// place changes apply(). It stays the same tensor through init() and set_parameters() as long as
// the number of scales does, so that an optimizer can hold it.
struct LearnableTensor {
  std::string name;   // "scale", "log_scale" or "zero_point"
  at::Tensor tensor;  // float32 [scales], a leaf
};

// A plug-in of quantizers/. Built as Class(const Params&, const QuantSpec&).
class Quantizer {
 public:
  virtual ~Quantizer() = default;
  // Takes over the parameters that follow from an observed range.
  virtual void init(const Range& range) = 0;
  // Takes over given parameters (a stored calibration).
  virtual void set_parameters(const QuantParameters& parameters) = 0;
  // Absent (undefined tensors) before init() and for dynamic granularities.
  virtual QuantParameters parameters() const = 0;
  // Quantized and dequantized values. `in_place` allows overwriting `rows` [n, features]; nothing
  // is overwritten while gradients are recorded. Differentiable then: straight through the rounding
  // to `rows` (1 inside of the grid, 0 outside), and to those learnable() tensors that require
  // gradients. Scales that follow from the row at hand (dynamic granularities) count as constants.
  virtual at::Tensor apply(const at::Tensor& rows, bool in_place) = 0;
  // Empty for a grid that is not learned, and before init().
  virtual std::vector<LearnableTensor> learnable() { return {}; }
  // Brings learnable tensors back to where they make sense after a step of gradient descent.
  virtual void constrain() {}
};

}  // namespace quell

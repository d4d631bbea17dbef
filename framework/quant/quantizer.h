// Quantizers map values to a grid and back.
#pragma once

#include <vector>

#include "framework/quant/spec.h"

namespace quell {

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
  // Quantized and dequantized values. `in_place` allows overwriting `rows` [n, features].
  virtual at::Tensor apply(const at::Tensor& rows, bool in_place) = 0;
};

}  // namespace quell

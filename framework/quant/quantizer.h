// Quantizers map values to a grid and back.
#pragma once

#include <string>
#include <vector>

#include "framework/quant/codes.h"
#include "framework/quant/named_tensors.h"
#include "framework/quant/spec.h"

namespace quell {

// What gradient descent may change of a quantizer. `tensor` is the quantizer's own: a change in
// place changes apply(). It stays the same tensor through init(), set_parameters() and set_state()
// as long as the number of scales does, so that an optimizer can hold it.
struct LearnableTensor {
  std::string name;   // "scale", "log_scale" or "zero_point"
  at::Tensor tensor;  // float32 [scales], a leaf
};

// A plug-in of quantizers/. Built as Class(const Params&, const QuantSpec&). Several threads may
// call its const functions at the same time.
class Quantizer {
 public:
  explicit Quantizer(const QuantSpec& spec) : spec_(spec) {}
  virtual ~Quantizer() = default;
  // Takes over the parameters that follow from an observed range.
  virtual void init(const Range& range) = 0;
  // The same where the values [n, features] or [n] that are to be quantized are known: of weights.
  // For quantizers that choose the codes by the values; others follow the range alone.
  virtual void init(const Range& range, const at::Tensor& /*values*/) { init(range); }
  // Takes over given parameters (a stored calibration).
  virtual void set_parameters(const QuantParameters& parameters) = 0;
  // Absent (undefined tensors) before init() and for dynamic granularities.
  virtual QuantParameters parameters() const = 0;
  // Quantized and dequantized values. `in_place` allows overwriting `rows` [n, features]; nothing
  // is overwritten while gradients are recorded. Differentiable then: straight through the rounding
  // to `rows` (1 inside of the grid, 0 outside), and to those learnable() tensors that require
  // gradients. Scales that follow from the row at hand (dynamic granularities) count as constants.
  virtual at::Tensor apply(const at::Tensor& rows, bool in_place) const = 0;
  // The integer codes of `rows` and the parameters that go with them: (codes - zero_point) * scale
  // are the bits of apply(). By default rounded by parameters(). Throws DataError where a value is
  // NaN, which has no code.
  virtual IntegerCodes codes(const at::Tensor& rows) const;
  // All that apply() depends on; a quantizer of the same plug-in, parameters and specification that
  // takes it over has the same bits. By default parameters(). Empty before init() and for dynamic
  // granularities. set_state() throws DataError for a state of something else.
  virtual NamedTensors state() const;
  virtual void set_state(const NamedTensors& state);
  // Of quantizers that hold decisions of rounding. set_rounding(): which of its two neighbours on
  // the grid each value of a weight takes, 1 the upper one; uint8 of the weight's shape. apply(),
  // codes() and state() follow it until the next init(). The default throws ConfigError.
  virtual bool holds_rounding() const { return false; }
  virtual void set_rounding(const at::Tensor& upper);
  // Empty for a grid that is not learned, and before init().
  virtual std::vector<LearnableTensor> learnable() { return {}; }
  // Brings learnable tensors back to where they make sense after a step of gradient descent.
  virtual void constrain() {}

 protected:
  const QuantSpec& spec() const { return spec_; }
  // The integer range of a grid as a part "levels" of a state.
  static void store_levels(kernels::Levels levels, NamedTensors& state);
  static kernels::Levels stored_levels(const NamedTensors& state);

 private:
  QuantSpec spec_;
};

}  // namespace quell

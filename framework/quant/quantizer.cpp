#include "framework/quant/quantizer.h"

#include <ATen/ops/tensor.h>

#include "framework/base/error.h"

namespace quell {

IntegerCodes Quantizer::codes(const at::Tensor& rows) const {
  return integer_codes(rows, parameters(), spec_);
}

void Quantizer::set_rounding(const at::Tensor& /*upper*/) {
  throw ConfigError("this quantizer rounds to the nearest; use `quantizer: adaround`");
}

NamedTensors Quantizer::state() const {
  const QuantParameters found = parameters();
  if (!found.scale.defined()) return {};
  NamedTensors state{{"scale", found.scale}, {"zero_point", found.zero_point}};
  store_levels(found.levels, state);
  return state;
}

void Quantizer::set_state(const NamedTensors& state) {
  if (spec_.is_dynamic()) return;
  set_parameters({stored_tensor(state, "scale").clone(), stored_tensor(state, "zero_point").clone(),
                  stored_levels(state)});
}

void Quantizer::store_levels(kernels::Levels levels, NamedTensors& state) {
  state["levels"] = at::tensor({levels.low, levels.high}, at::kFloat);
}

kernels::Levels Quantizer::stored_levels(const NamedTensors& state) {
  const at::Tensor& tensor = stored_tensor(state, "levels");
  if (tensor.scalar_type() != at::kFloat || tensor.numel() != 2) {
    throw DataError("the stored integer range of a quantizer is not two numbers of float32");
  }
  const float* levels = tensor.const_data_ptr<float>();
  return {levels[0], levels[1]};
}

}  // namespace quell

// Which linears of an experiment compressed-tensors can hold, and how each is quantized there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/quant/spec.h"
#include "framework/run/bench.h"

namespace quell {

enum class InputScheme {
  kFloat,    // the weight alone is quantized
  kStatic,   // one grid for all
  kDynamic,  // one for each token, which the runtime finds
};

// How a linear is quantized. The weight has a scale for each row, or for groups of neighbours in
// it.
struct LinearScheme {
  int64_t weight_bits = 8;  // 4 or 8: fewer are stored as those
  bool symmetric_weight = true;
  int64_t group_size = 0;  // 0: whole rows
  InputScheme input = InputScheme::kFloat;
  bool symmetric_input = true;

  bool has_float_input() const { return input == InputScheme::kFloat; }
  friend auto operator<=>(const LinearScheme&, const LinearScheme&) = default;
};

// `input` is null where a linear's input stays float.
LinearScheme linear_scheme(const QuantSpec& weight, const QuantSpec* input);

// A tensor that is, or belongs to, the weight of a module of transformers.
struct LinearModule {
  std::string name;  // "model.layers.0.self_attn.q_proj"
  const ModelTensor* tensor = nullptr;
};

// The linears of a model; the weights of some may be no sites.
std::vector<LinearModule> linear_modules(const Model& model);

// Throws ConfigError with all that has no place: sites that quantize and are neither a weight of a
// linear in a layer nor the input of such, and grids that vLLM has no kernels for. Loads the model,
// and runs it on the first calibration batch, to see what linears read.
void check_schemes(Bench& bench, const Plugins& plugins);

}  // namespace quell

// The memory column of the third paper: bytes of a model's parameters at the chosen bit widths.
#pragma once

#include <cstdint>
#include <span>

#include "framework/model/model.h"
#include "framework/run/quant_rules.h"

namespace quell {

struct ModelSize {
  double float_bytes = 0;            // everything in float32
  double quantized_bytes = 0;        // weights at their bits; biases and norms in float32
  double float_embedding_bytes = 0;  // embedding tables alone
  double quantized_embedding_bytes = 0;

  double ratio() const { return float_bytes / quantized_bytes; }
};

// Scales and zero points are not counted, as in the paper.
ModelSize model_size(const Model& model, std::span<const SitePlan> plan);

}  // namespace quell

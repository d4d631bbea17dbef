// The fields of a Hugging Face config.json that encoders share, checked.
#pragma once

#include <cstdint>
#include <string>

#include "framework/quant/dropout.h"
#include "models/blocks/layers.h"

namespace quell {

class Checkpoint;

struct HfEncoderConfig {
  // Throws DataError naming the file and the field.
  explicit HfEncoderConfig(const Checkpoint& checkpoint);

  int64_t vocabulary_size, hidden, layers, heads, ffn, max_positions, token_types, pad_id, labels;
  double norm_epsilon;
  DropoutRates dropout;
  Nonlinearity nonlinearity;
};

}  // namespace quell

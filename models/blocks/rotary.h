// Rotary positions (Su et al. 2021): feature pairs of a head turn with the position, each by an
// angle of its own.
#pragma once

#include <vector>

#include "framework/model/model_input.h"
#include "models/blocks/config_fields.h"

namespace quell {

struct RotaryShape {
  std::vector<float> frequencies;  // [features / 2], radians per position
  int64_t max_positions = 0;       // of the longest sequence
  // "Dynamic" scaling: a sequence of more than `positions` tokens has the frequencies of a larger
  // base. 0: none is.
  int64_t positions = 0;
  double base = 0, factor = 0;
};

// What a family calls the fields beside rope_parameters.
struct RotaryKeys {
  const char* base = "rope_theta";
  const char* share = nullptr;  // of a head's features that turn, its first ones; null: all turn
  double usual_share = 1;
};

// From rope_scaling of config.json, as earlier releases have it, or rope_parameters: default,
// linear, dynamic or llama3. Throws DataError.
RotaryShape rotary_shape(const ConfigFields& config, int64_t head_size, RotaryKeys keys = {});

// Cosines and sines of all target tokens, [tokens, features].
RotaryAngles rotary_angles(const RotaryShape& shape, const Batch& batch);

}  // namespace quell

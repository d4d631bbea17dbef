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

// What holds where config.json says nothing else.
struct UsualRotary {
  double base = 10000;
  double share = 1;  // of a head's features that turn, its first ones
};

// From rope_parameters of config.json, or rope_theta and rope_scaling of earlier releases: default,
// linear, dynamic or llama3. Throws DataError.
RotaryShape rotary_shape(const ConfigFields& config, int64_t head_size, UsualRotary usual = {});

// Cosines and sines of all target tokens, [tokens, features].
RotaryAngles rotary_angles(const RotaryShape& shape, const Batch& batch);

}  // namespace quell

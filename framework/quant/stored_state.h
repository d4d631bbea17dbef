// What is stored of a quantizer besides its parameters.
#pragma once

#include "framework/quant/named_tensors.h"

namespace quell {

// The parts of a Quantizer::state() that parameters() does not have, such as learned rounding. What
// has none of them follows its parameters alone between steps of gradient descent.
inline NamedTensors beyond_parameters(NamedTensors state) {
  for (const char* name : {"scale", "zero_point", "levels"}) state.erase(name);
  return state;
}

}  // namespace quell

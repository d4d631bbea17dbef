// How a learning rate changes from step to step.
#pragma once

#include <cstdint>
#include <utility>

#include "framework/config/enum_name.h"

namespace quell {

enum class Decay {
  kConstant,
  kLinear,  // to 0
  kCosine,  // half a period, to 0
};

template <>
struct EnumNames<Decay> {
  static constexpr std::pair<const char*, Decay> values[] = {
      {"constant", Decay::kConstant}, {"linear", Decay::kLinear}, {"cosine", Decay::kCosine}};
};

// A linear rise from 0 during the first `warmup` of `steps`, then the decay to 0, which would be
// reached after the last step. Without warm-up the first step has the whole rate.
struct LearningRate {
  double peak = 0;
  Decay decay = Decay::kConstant;
  int64_t steps = 0;
  int64_t warmup = 0;

  double at(int64_t step) const;  // 0-based
};

// The share of warm-up in steps, rounded up as in the trainer of Hugging Face.
int64_t warmup_steps(double share, int64_t steps);

}  // namespace quell

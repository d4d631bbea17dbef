#include "framework/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace quell {

double LearningRate::at(int64_t step) const {
  if (step < warmup) return peak * static_cast<double>(step) / static_cast<double>(warmup);
  const auto length = static_cast<double>(std::max<int64_t>(1, steps - warmup));
  const auto left = static_cast<double>(std::max<int64_t>(0, steps - step));
  switch (decay) {
    case Decay::kConstant:
      return peak;
    case Decay::kLinear:
      return peak * (left / length);
    case Decay::kCosine:
      return peak * (1 + std::cos(std::numbers::pi * (1 - left / length))) / 2;
  }
  return peak;
}

int64_t warmup_steps(double share, int64_t steps) {
  return static_cast<int64_t>(std::ceil(share * static_cast<double>(steps)));
}

}  // namespace quell

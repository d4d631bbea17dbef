// Exact ranges. A NaN makes both bounds NaN, so that the caller can report it; a zero bound is +0.
// Of no values the range is {+infinity, -infinity}.
#pragma once

#include <cstdint>
#include <limits>

#include "framework/kernels/parallel.h"

namespace quell::kernels {

struct MinMax {
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
};

// x: [size].
MinMax min_max_tensor(const float* x, int64_t size, ParallelFor parallel_for = serial_for);

// x: [outer, channels, inner]; min, max: [channels].
void min_max_channels(const float* x, int64_t outer, int64_t channels, int64_t inner, float* min,
                      float* max, ParallelFor parallel_for = serial_for);

// One range per token. x: [sequences, length, features], of which only the first lengths[i] tokens
// of sequence i count (each in [0, length]); null means all. min, max: [sum of lengths], the valid
// tokens in their order, without gaps. Values of several scales per token: [sequences, length *
// scales, features], with lengths * scales.
void min_max_tokens(const float* x, int64_t sequences, int64_t length, int64_t features,
                    const int64_t* lengths, float* min, float* max,
                    ParallelFor parallel_for = serial_for);

// Widens `range` to hold `part`, the range of other values.
inline void merge(MinMax part, MinMax& range) {
  if (part.min < range.min || part.min != part.min) range.min = part.min;
  if (part.max > range.max || part.max != part.max) range.max = part.max;
}

// The form that callers see: NaN in both bounds or in none, no -0.
inline MinMax canonical(MinMax range) {
  if (range.min != range.min) range.max = range.min;
  return {range.min + 0.0f, range.max + 0.0f};
}

}  // namespace quell::kernels

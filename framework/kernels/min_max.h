// Exact ranges; what is special about their bounds: interval.h.
#pragma once

#include <cstdint>

#include "framework/kernels/interval.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

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

}  // namespace quell::kernels

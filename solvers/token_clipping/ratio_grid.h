// The shares of tokens that token-wise clipping tries.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/model/batch.h"

namespace quell {

// As published: 0.01 for 32 sequences of 128 tokens, and in inverse proportion for larger batches,
// to two significant digits.
double published_step(std::span<const Batch> batches);

// 1 and below, in equal steps. A `step` or `count` of 0 is the published one; `bits` are those of
// the activations. Throws ConfigError when the last is not above 0.
std::vector<double> ratio_grid(double step, int64_t count, int64_t bits,
                               std::span<const Batch> batches);

}  // namespace quell

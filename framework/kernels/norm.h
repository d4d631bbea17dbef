// LayerNorm of rows, optionally of the sum of two (a branch and what passes it by), in one go.
//
// Each value is computed in a fixed order: features are added in 16 sums, feature i to sum i mod
// 16, which are then added by halves; so are the squares of what is left when their mean is
// subtracted. Neither other rows, threads nor the instruction set show in the bits, as long as it
// has fused multiply-adds.
#pragma once

#include <cstdint>

#include "framework/kernels/parallel.h"

namespace quell::kernels {

struct LayerNorm {
  const float* gamma;           // [features]
  const float* beta = nullptr;  // [features]; null: there is none
  float epsilon = 1e-12f;
};

// y = gamma * (x - mean) / sqrt(variance + epsilon) + beta with x = rows + added; `added` may be
// null, y may be either of them. All [rows, features], row-major.
void layer_norm(const LayerNorm& norm, const float* rows, const float* added, int64_t count,
                int64_t features, float* y, ParallelFor parallel_for = serial_for);

}  // namespace quell::kernels

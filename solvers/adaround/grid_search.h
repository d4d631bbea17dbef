// The grids that AdaRound may begin with (apply_mse_init and apply_mse_out_init of the published
// code).
#pragma once

#include "framework/quant/spec.h"
#include "solvers/adaround/reconstruction.h"

namespace quell {

// Of 80 symmetric ranges, from the largest absolute value that shares a scale down to 0.21 of it,
// the one with the smallest error: of the weight, for each scale by itself, or, where a
// reconstruction is given, of the outputs, with the same factor for all scales. The first of
// equals.
Range best_range(const at::Tensor& weight, const QuantSpec& spec, Reconstruction* outputs);

}  // namespace quell

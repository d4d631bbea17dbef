// What products of quantized weights and activations cost: each multiplication of a value of b bits
// by one of c bits counts b * c bit operations; float values have 32 bits.
#pragma once

#include <vector>

#include "framework/run/bench.h"

namespace quell {

// A linear and the activation that it reads.
struct LinearInput {
  SiteId weight = kNoSite;
  SiteId input = kNoSite;  // kNoSite: nothing quantizes what it reads
  int64_t products = 0;    // multiplications for each row that it reads
};

// The linears whose weights are sites, in the order of execution, as a pass over the first
// calibration batch meets them. Loads the model's tensors. Throws ConfigError without calibration
// batches.
std::vector<LinearInput> linear_inputs(Bench& bench, const Plugins& plugins);
// The same of a model that is loaded, as a pass over `batch` meets them: inputs are activations
// that `points` quantize, all of which have parameters.
std::vector<LinearInput> linear_inputs(const Model& model, const SitePoints& points,
                                       const Batch& batch);

// Of one row that the linear reads, with sites quantized as planned.
int64_t bit_operations(const LinearInput& linear, const std::vector<SitePlan>& plan);

}  // namespace quell

// What solvers share that find ranges by observing.
#pragma once

#include <vector>

#include "framework/model/pipeline.h"

namespace quell {

// Observes the quantized weights, but not those of `skipped`, and hands the ranges to their
// quantizers. Throws Error when a range is not finite.
void observe_weights(PipelineContext& context, const SiteSet& skipped = {});

// The same for activations, over all calibration batches in order, under each site's
// `during_calibration`. Observers keep what they saw. Throws ConfigError without batches.
void observe_activations(PipelineContext& context, const SiteSet& skipped = {});

// Hands the observer's range to the quantizer, with the `values` of a weight. Throws Error when it
// is not finite.
void use_range(const Site& site, SitePoint& point, const at::Tensor& values = {});

}  // namespace quell

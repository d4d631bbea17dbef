// What solvers share that find ranges by observing.
#pragma once

#include <vector>

#include "framework/model/pipeline.h"

namespace quell {

// Sites by SiteId; empty means none.
using SiteSet = std::vector<bool>;

// Observes the quantized weights, but not those of `skipped`, and hands the ranges to their
// quantizers. Throws Error when a range is not finite.
void observe_weights(PipelineContext& context, const SiteSet& skipped = {});

// The same for activations, over all calibration batches in order, under each site's
// `during_calibration`. Observers keep what they saw. Throws ConfigError without batches.
void observe_activations(PipelineContext& context, const SiteSet& skipped = {});

// Hands the observer's range to the quantizer. Throws Error when it is not finite.
void use_range(const Site& site, QuantPoint& point);

// Quantizes the weights that are switched on, so that several threads may run the model at once.
void prepare_weights(const Model& model, QuantContext& context);

}  // namespace quell

// What solvers share that find ranges by observing.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "framework/model/pipeline.h"

namespace quell {

// Observes the quantized weights, but not those of `skipped`, and hands the ranges to their
// quantizers. Throws Error when a range is not finite.
void observe_weights(PipelineContext& context, const SiteSet& skipped = {});

// Some of the calibration batches.
struct BatchSelection {
  int64_t first = 0;
  int64_t count = 0;  // 0: all from there on

  bool all() const { return first == 0 && count == 0; }
};

// Those batches. Throws ConfigError in the name of `step` where there are none, or not so many.
std::span<const Batch> selected_batches(const PipelineContext& context, BatchSelection selection,
                                        const std::string& step);

// Of these batches those that the ranges of the `observed` sites follow from: the last one, where
// observers say that it decides. A block runs on all of them.
std::span<const Batch> deciding_batches(const PipelineContext& context,
                                        std::span<const Batch> batches,
                                        std::span<const SiteId> observed);

// The same for activations, over calibration batches in order, under each site's
// `during_calibration`. Observers keep what they saw. Throws ConfigError without batches.
void observe_activations(PipelineContext& context, const SiteSet& skipped = {},
                         BatchSelection selection = {});

// Hands the observer's range to the quantizer, with the `values` of a weight. Throws Error when it
// is not finite.
void use_range(const Site& site, SitePoint& point, const at::Tensor& values = {});

}  // namespace quell

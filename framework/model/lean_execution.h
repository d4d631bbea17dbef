// Runs of a model that is evaluated and nothing else: what an engine keeps in a form of its own is
// in memory in that form alone.
#pragma once

#include <memory>

#include "framework/model/execution.h"
#include "framework/model/weight_keeper.h"

namespace quell {

// Of a model that was not loaded. The first batch that runs goes through it segment by segment:
// each one's tensors are read when it gets there, and those of linears that `keeper` holds
// afterwards are let go before the next ones are read; then tables that it can hold. All that
// follows runs at once. In for_each_segment() all tensors of the segment are there, as they are
// stored. Whoever runs batches by the keeper's engine quantizes all that is calibrated. Throws
// DataError where a value is not finite. All arguments must live as long as the result, with which
// all tensors go.
std::unique_ptr<Execution> execute_lean(Model& model, const MatchedTensors& tensors,
                                        SitePoints& points, const WeightKeeper& keeper);

}  // namespace quell

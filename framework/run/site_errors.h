// How far quantization moves the activations.
#pragma once

#include <map>
#include <span>

#include "framework/model/pipeline.h"
#include "framework/record/run_record.h"

namespace quell {

struct SiteErrors {
  std::map<SiteId, SiteError> activations;
  std::map<SiteId, LinearError> linears;  // by the weight; where its input lies on a grid, too
};

// Compares both networks at every quantized activation site over these batches, and at every
// quantized linear on the first rows of each. Nothing where no site has parameters; throws Error
// where only some have. Holds the states of the batches in memory, and the float activations of one
// batch in one layer.
SiteErrors site_errors(PipelineContext& context, std::span<const Batch> batches);

// The SQNR in dB of every weight that is quantized.
std::map<SiteId, double> weight_errors(PipelineContext& context);

// The SQNR of a quantized weight against the float one, in dB.
double weight_sqnr_db(const at::Tensor& weight, const at::Tensor& quantized);

}  // namespace quell

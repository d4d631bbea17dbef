// The steps of a pipeline: transforms rewrite a model without changing what it computes, solvers
// choose ranges and other parameters.
#pragma once

#include <span>

#include "framework/base/log.h"
#include "framework/model/batch.h"
#include "framework/model/model.h"
#include "framework/quant/context.h"

namespace quell {

// What a step works on. Quantization and observation are switched off between steps.
struct PipelineContext {
  Model& model;
  QuantContext& quant;
  std::span<const Batch> calibration;
  Log& log;
};

// A plug-in of transforms/: after it the float outputs are what they were, within a stated bound.
class Transform {
 public:
  virtual ~Transform() = default;
  virtual void apply(PipelineContext& context) = 0;
};

// A plug-in of solvers/: finds quantization parameters.
class Solver {
 public:
  virtual ~Solver() = default;
  virtual void solve(PipelineContext& context) = 0;
};

}  // namespace quell

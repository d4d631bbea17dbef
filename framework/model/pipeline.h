// The steps of a pipeline: transforms rewrite a model without changing what it computes, solvers
// choose ranges and other parameters.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/model/batch.h"
#include "framework/model/execution.h"
#include "framework/model/model.h"
#include "framework/model/record.h"
#include "framework/model/rewrites.h"
#include "framework/model/step_progress.h"
#include "framework/model/training_data.h"
#include "framework/quant/site_points.h"

namespace quell {

// What a step works on.
struct PipelineContext {
  Model& model;
  SitePoints& points;
  std::span<const Batch> calibration;
  Log& log;
  std::shared_ptr<Execution> execution = execute_whole(model);
  std::shared_ptr<Rewrites> rewrites = std::make_shared<Rewrites>(model, points);
  SiteRange scope = {};                     // what solvers work on: all sites, or those of a block
  std::vector<Outputs> float_outputs = {};  // see original_outputs()
  std::vector<Record> records = {};         // added to by steps
  StepProgress progress = {};               // of the step that runs
  const TensorStore* shared = nullptr;      // of the step that runs; null: nothing is shared
  TrainingData* training = nullptr;         // null when the task has none
  uint64_t seed = 42;                       // of everything that is drawn at random
  bool trained = false;                     // set by solvers that change the model's weights
};

// The float network's outputs for each calibration batch, as it is now. `pass` names it where it is
// to be resumed.
std::vector<Outputs> calibration_outputs(PipelineContext& context, const std::string& pass = "");

// The same of the float network that the pipeline started with: what searches compare with.
// Computed by the first call, which has to come before a step changes what the network computes;
// the runner sees to that.
const std::vector<Outputs>& original_outputs(PipelineContext& context);

// Which float network a search or learning compares with.
enum class Targets {
  kOriginal,     // the one that the pipeline started with
  kTransformed,  // the present one; another where a transform is not exactly equivalent
};

template <>
struct EnumNames<Targets> {
  static constexpr std::pair<const char*, Targets> values[] = {
      {"original", Targets::kOriginal}, {"transformed", Targets::kTransformed}};
};

// Its outputs for each calibration batch.
std::vector<Outputs> target_outputs(PipelineContext& context, Targets targets);

// A step of a pipeline.
class Step {
 public:
  virtual ~Step() = default;
  // Whether it can work with this model and task, asked before anything is computed; `training` is
  // null where the task has no such data. The model has no tensors yet. Throws ConfigError with the
  // way out.
  virtual void check(Model& /*model*/, const TrainingData* /*training*/) const {}
  virtual void run(PipelineContext& context) = 0;
  // Whether it reads the tensors of this model, and changes them, only while they are in memory: in
  // PipelineContext::execution and by PipelineContext::rewrites. The model has no tensors yet.
  virtual bool works_by_segment(Model& /*model*/) const { return false; }
  // Whether it works on a block alone, see PipelineContext::scope.
  virtual bool works_on_block() const { return false; }
  // Whether it rewrites the model, so that float outputs are compared before and after it.
  virtual bool rewrites() const { return false; }
  // What it gives a model of which `quantized` sites are quantized that the model's own class has
  // no place for, such as a factor on a shortcut: one text each. Asked before anything is computed;
  // the model knows which tensors its checkpoint has.
  virtual std::vector<std::string> additions(Model& /*model*/, const SiteSet& /*quantized*/) const {
    return {};
  }
};

// A plug-in of transforms/: after it the float outputs are what they were, within a stated bound.
class Transform : public Step {
 public:
  bool rewrites() const override { return true; }
};
// A plug-in of solvers/: finds quantization parameters.
class Solver : public Step {};

}  // namespace quell

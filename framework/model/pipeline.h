// The steps of a pipeline: transforms rewrite a model without changing what it computes, solvers
// choose ranges and other parameters.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/model/batch.h"
#include "framework/model/model.h"
#include "framework/model/step_progress.h"
#include "framework/model/training_data.h"
#include "framework/quant/site_points.h"

namespace quell {

// What a solver tried, for the results file.
struct SearchCandidate {
  double value = 0;     // of what is searched
  double loss = 0;      // over all batches; a lower bound where the candidate was given up
  int64_t batches = 0;  // that were counted whole
};

struct SearchRecord {
  std::string solver;
  std::string searched;  // what the values are: "ratio"
  std::string sites;     // which sites have the value; empty: all that are searched
  std::vector<SearchCandidate> candidates;
  int64_t chosen = -1;  // index of the best candidate; -1: what was there before was better
};

// How gradient descent went, for the results file: one entry per step.
struct LearningRecord {
  std::string solver;
  std::vector<double> loss;  // of the batch of the step, before it
  std::vector<double> learning_rate;
};

// What a step works on.
struct PipelineContext {
  Model& model;
  SitePoints& points;
  std::span<const Batch> calibration;
  Log& log;
  std::vector<Outputs> float_outputs = {};    // see original_outputs()
  std::vector<SearchRecord> searches = {};    // added to by solvers
  std::vector<LearningRecord> learning = {};  // added to by solvers
  StepProgress progress = {};                 // of the step that runs
  const TensorStore* shared = nullptr;        // of the step that runs; null: nothing is shared
  TrainingData* training = nullptr;           // null when the task has none
  uint64_t seed = 42;                         // of everything that is drawn at random
  bool trained = false;                       // set by solvers that change the model's weights
};

// The float network's outputs for each calibration batch, as it is now.
std::vector<Outputs> calibration_outputs(const PipelineContext& context);

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

// The outputs of the float network, which distillation compares with.
#pragma once

#include "framework/model/pipeline.h"
#include "framework/train/batches.h"

namespace quell {

// One row per example, so that it does not matter which batches they are in.
class Teacher {
 public:
  // Runs the float network as it is over all examples.
  Teacher(const PipelineContext& context, TrainingBatches& batches);
  // What an earlier run has stored.
  explicit Teacher(const NamedTensors& stored);

  // Rows of the batch's examples.
  Outputs outputs(const Batch& batch) const;
  // Names begin with "teacher.".
  NamedTensors state() const;

 private:
  Outputs outputs_;  // [examples, ...]
};

}  // namespace quell

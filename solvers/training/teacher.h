// The outputs of the float network, which distillation compares with.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "framework/model/pipeline.h"
#include "framework/train/batches.h"

namespace quell {

// Kept by example, so that it does not matter which batches they are in: one row for each, or,
// where a model writes text, one for each of its target tokens.
class Teacher {
 public:
  // Runs the float network as it is over all examples. Every output has
  // classes.
  Teacher(const PipelineContext& context, TrainingBatches& batches);
  // What an earlier run has stored.
  explicit Teacher(const NamedTensors& stored);

  // Rows of the batch's examples, without padding.
  Outputs outputs(const Batch& batch) const;
  // Names begin with "teacher.".
  NamedTensors state() const;

 private:
  struct Rows {
    at::Tensor values;           // [rows of all examples, classes]
    std::vector<int64_t> first;  // [examples + 1], into them; empty: a row for each example
  };

  std::map<std::string, Rows> outputs_;
};

}  // namespace quell

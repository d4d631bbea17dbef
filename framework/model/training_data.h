// The examples that a model is trained on.
#pragma once

#include <cstdint>
#include <span>

#include "framework/model/batch.h"

namespace quell {

// Labelled examples of a task. Which of them make up a batch, and in which order, is up to whoever
// trains.
class TrainingData {
 public:
  virtual ~TrainingData() = default;
  // How many examples there are. The first call reads them; throws DataError.
  virtual int64_t examples() = 0;
  // The examples at these positions in [0, examples()), packed in this order, with labels that are
  // the model's classes (int64) or scores (float32). Batch::example_ids are the positions.
  virtual Batch batch(std::span<const int64_t> positions) = 0;
  // Sequences per batch that the task uses.
  virtual int64_t batch_size() const = 0;
};

}  // namespace quell

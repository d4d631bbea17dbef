// Which examples a step of training sees.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/model/training_data.h"

namespace quell {

// Batches of one epoch after another.
class TrainingBatches {
 public:
  // Given batches with labels, in their order, in every epoch. Examples are numbered through all
  // batches.
  explicit TrainingBatches(std::span<const Batch> batches);
  // All examples of `data`, or `samples` of them (0: all) that are drawn with derived_seed(seed,
  // 0). Epoch e has the order that draw_without_replacement() gives for derived_seed(seed, e + 1),
  // cut into batches of `batch_size` (0: that of the task), the last of which may be smaller.
  // Throws ConfigError when there are fewer examples than `samples`.
  TrainingBatches(TrainingData& data, int64_t samples, int64_t batch_size, uint64_t seed);

  int64_t examples() const { return examples_; }
  int64_t per_epoch() const { return per_epoch_; }
  // The batch of a 0-based step; Batch::example_ids are numbers below examples().
  Batch at(int64_t step);

 private:
  void shuffle(int64_t epoch);

  std::vector<Batch> given_;
  TrainingData* data_ = nullptr;
  std::vector<int64_t> positions_;  // of the examples in `data`
  std::vector<int64_t> order_;      // of the current epoch: indices into positions_
  int64_t epoch_ = -1;
  int64_t batch_size_ = 0;
  uint64_t seed_ = 0;
  int64_t examples_ = 0;
  int64_t per_epoch_ = 0;
};

}  // namespace quell

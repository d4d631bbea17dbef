#include "framework/train/batches.h"

#include <fmt/format.h>
#include <algorithm>
#include <numeric>

#include "framework/base/draw.h"
#include "framework/base/error.h"

namespace quell {

TrainingBatches::TrainingBatches(std::span<const Batch> batches)
    : given_(batches.begin(), batches.end()), per_epoch_(std::ssize(batches)) {
  if (given_.empty()) throw ConfigError("no calibration batches to train on");
  for (Batch& batch : given_) {
    batch.example_ids.resize(static_cast<size_t>(batch.sequences()));
    std::iota(batch.example_ids.begin(), batch.example_ids.end(), examples_);
    examples_ += batch.sequences();
  }
}

TrainingBatches::TrainingBatches(TrainingData& data, int64_t samples, int64_t batch_size,
                                 uint64_t seed)
    : data_(&data),
      batch_size_(batch_size > 0 ? batch_size : data.batch_size()),
      seed_(seed),
      examples_(samples > 0 ? samples : data.examples()) {
  if (examples_ > data.examples()) {
    throw ConfigError(
        fmt::format("samples {}: there are only {} training examples", samples, data.examples()));
  }
  positions_ = draw_without_replacement(data.examples(), examples_, derived_seed(seed, 0));
  std::sort(positions_.begin(), positions_.end());  // drawn or not: in the order of the data
  per_epoch_ = (examples_ + batch_size_ - 1) / batch_size_;
}

void TrainingBatches::shuffle(int64_t epoch) {
  if (epoch == epoch_) return;
  const uint64_t seed = derived_seed(seed_, static_cast<uint64_t>(epoch) + 1);
  order_ = draw_without_replacement(examples_, examples_, seed);
  epoch_ = epoch;
}

Batch TrainingBatches::at(int64_t step) {
  const int64_t index = step % per_epoch_;
  if (data_ == nullptr) return given_[static_cast<size_t>(index)];
  shuffle(step / per_epoch_);
  const int64_t begin = index * batch_size_;
  const int64_t end = std::min(begin + batch_size_, examples_);
  const std::vector<int64_t> chosen(order_.begin() + begin, order_.begin() + end);
  std::vector<int64_t> positions;
  for (const int64_t example : chosen) {
    positions.push_back(positions_[static_cast<size_t>(example)]);
  }
  Batch batch = data_->batch(positions);
  batch.example_ids = chosen;
  return batch;
}

}  // namespace quell

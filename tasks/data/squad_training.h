// Windows with answers, to train on.
#pragma once

#include <functional>
#include <vector>

#include "framework/model/training_data.h"
#include "tasks/data/squad_features.h"

namespace quell {

class SquadTrainingData final : public TrainingData {
 public:
  // `read` is called when the windows are needed for the first time.
  SquadTrainingData(std::function<std::vector<SquadFeature>()> read, int64_t batch_size)
      : read_(std::move(read)), batch_size_(batch_size) {}

  int64_t examples() override { return std::ssize(features()); }
  Batch batch(std::span<const int64_t> positions) override;
  int64_t batch_size() const override { return batch_size_; }

 private:
  const std::vector<SquadFeature>& features();

  std::function<std::vector<SquadFeature>()> read_;
  int64_t batch_size_;
  std::vector<SquadFeature> features_;
};

}  // namespace quell

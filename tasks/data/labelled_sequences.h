// Training data that is held in memory as token ids.
#pragma once

#include <functional>
#include <vector>

#include "framework/model/training_data.h"

namespace quell {

struct LabelledSequences {
  std::vector<TokenSequence> sequences;
  std::vector<double> labels;  // one per sequence
  bool scores = false;         // labels are scores, not classes
};

class SequenceTrainingData final : public TrainingData {
 public:
  // `read` is called when the examples are needed for the first time.
  SequenceTrainingData(std::function<LabelledSequences()> read, int64_t batch_size)
      : read_(std::move(read)), batch_size_(batch_size) {}

  int64_t examples() override { return std::ssize(data().sequences); }
  Batch batch(std::span<const int64_t> positions) override;
  int64_t batch_size() const override { return batch_size_; }

 private:
  const LabelledSequences& data();

  std::function<LabelledSequences()> read_;
  int64_t batch_size_;
  LabelledSequences data_;
};

}  // namespace quell

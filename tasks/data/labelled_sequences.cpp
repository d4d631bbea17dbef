#include "tasks/data/labelled_sequences.h"

#include "tasks/data/batching.h"

namespace quell {

const LabelledSequences& SequenceTrainingData::data() {
  if (data_.sequences.empty()) data_ = read_();
  return data_;
}

Batch SequenceTrainingData::batch(std::span<const int64_t> positions) {
  const LabelledSequences& all = data();
  std::vector<TokenSequence> sequences;
  std::vector<double> labels;
  for (const int64_t position : positions) {
    sequences.push_back(all.sequences[static_cast<size_t>(position)]);
    labels.push_back(all.labels[static_cast<size_t>(position)]);
  }
  Batch batch = pack(sequences);
  batch.example_ids.assign(positions.begin(), positions.end());
  set_labels(batch, labels, all.scores);
  return batch;
}

}  // namespace quell

#include "tasks/data/squad_training.h"

namespace quell {

const std::vector<SquadFeature>& SquadTrainingData::features() {
  if (features_.empty()) features_ = read_();
  return features_;
}

Batch SquadTrainingData::batch(std::span<const int64_t> positions) {
  const std::vector<SquadFeature>& all = features();
  std::vector<TokenSequence> sequences;
  for (const int64_t position : positions) sequences.push_back(all[position].sequence);
  Batch batch = pack(sequences);
  batch.example_ids.assign(positions.begin(), positions.end());
  set_answer_positions(batch, all);
  return batch;
}

}  // namespace quell

#include "framework/model/batch_part.h"

#include <algorithm>

#include "framework/base/error.h"

namespace quell {

Batch part_of(const Batch& batch, int64_t first, int64_t count) {
  QUELL_ASSERT(!batch.decoder_token_ids.defined(), "a batch without a decoder side");
  const int64_t begin = batch.offsets[first], tokens = batch.offsets[first + count] - begin;
  const auto of_sequences = [&](const at::Tensor& all) {
    return all.defined() ? all.narrow(0, first, count) : all;
  };
  Batch part;
  part.token_ids = batch.token_ids.narrow(0, begin, tokens);
  part.segment_ids = batch.segment_ids.narrow(0, begin, tokens);
  part.position_ids = batch.position_ids.narrow(0, begin, tokens);
  for (int64_t i = first; i <= first + count; ++i) part.offsets.push_back(batch.offsets[i] - begin);
  part.valid_lengths.assign(batch.valid_lengths.begin() + first,
                            batch.valid_lengths.begin() + first + count);
  part.padding_unobserved = batch.padding_unobserved;
  part.pad_to = batch.pad_to;
  for (int64_t i = 0; batch.pad_to == 0 && i < batch.sequences(); ++i) {
    part.pad_to = std::max(part.pad_to, batch.length(i));
  }
  part.labels = of_sequences(batch.labels);
  if (!batch.example_ids.empty()) {
    part.example_ids.assign(batch.example_ids.begin() + first,
                            batch.example_ids.begin() + first + count);
  }
  part.start_positions = of_sequences(batch.start_positions);
  part.end_positions = of_sequences(batch.end_positions);
  return part;
}

}  // namespace quell

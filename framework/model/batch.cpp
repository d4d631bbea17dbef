#include "framework/model/batch.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <algorithm>
#include <utility>

#include "framework/base/error.h"

namespace quell {
namespace {

// Real tokens and rows of a sequence in the packed batch.
struct Extent {
  int64_t valid;
  int64_t length;
};

Extent extent_of(const TokenSequence& sequence, int64_t keep_padding_to) {
  const auto given = static_cast<int64_t>(sequence.ids.size());
  QUELL_ASSERT(sequence.segment_ids.empty() || sequence.segment_ids.size() == sequence.ids.size(),
               "segment ids and token ids differ in length");
  QUELL_ASSERT(sequence.valid_length <= given, "more valid positions than token ids");
  const int64_t valid = sequence.valid_length < 0 ? given : sequence.valid_length;
  QUELL_ASSERT(valid > 0, "a sequence without tokens");
  if (keep_padding_to <= 0) return {valid, valid};
  if (valid > keep_padding_to) {
    throw ConfigError(fmt::format(
        "calibration.pad_to: a sequence of {} tokens does not fit into {} positions; raise pad_to "
        "or lower the maximum length of the task",
        valid, keep_padding_to));
  }
  return {valid, keep_padding_to};
}

}  // namespace

bool Batch::keeps_padding() const {
  for (int64_t sequence = 0; sequence < sequences(); ++sequence) {
    if (valid_lengths[sequence] < length(sequence)) return true;
  }
  return false;
}

Batch pack(std::span<const TokenSequence> sequences, int64_t keep_padding_to, int64_t pad_id) {
  Batch batch;
  batch.offsets = {0};
  for (const TokenSequence& sequence : sequences) {
    const Extent extent = extent_of(sequence, keep_padding_to);
    batch.offsets.push_back(batch.offsets.back() + extent.length);
    batch.valid_lengths.push_back(extent.valid);
  }
  const int64_t tokens = batch.tokens();
  batch.token_ids = at::empty({tokens}, at::kLong);
  batch.segment_ids = at::empty({tokens}, at::kLong);
  batch.position_ids = at::empty({tokens}, at::kLong);
  auto* ids = batch.token_ids.mutable_data_ptr<int64_t>();
  auto* segments = batch.segment_ids.mutable_data_ptr<int64_t>();
  auto* positions = batch.position_ids.mutable_data_ptr<int64_t>();
  for (int64_t index = 0; index < batch.sequences(); ++index) {
    const TokenSequence& sequence = sequences[index];
    const auto given = static_cast<int64_t>(sequence.ids.size());
    const bool has_segments = !sequence.segment_ids.empty();
    for (int64_t position = 0; position < batch.length(index); ++position) {
      const int64_t row = batch.offsets[index] + position;
      ids[row] = position < given ? sequence.ids[position] : pad_id;
      segments[row] = has_segments && position < given ? sequence.segment_ids[position] : 0;
      positions[row] = position;
    }
  }
  return batch;
}

Batch pack_behind(std::span<const TokenSequence> sequences, std::vector<int64_t> contexts) {
  Batch batch = pack(sequences);
  batch.contexts = std::move(contexts);
  QUELL_ASSERT(std::ssize(batch.contexts) == batch.sequences(), "a context for every sequence");
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    const int64_t context = batch.contexts[i];
    if (context < 0) continue;
    QUELL_ASSERT(context < i && batch.contexts[context] < 0, "a context in front, without its own");
    batch.position_ids.narrow(0, batch.offsets[i], batch.length(i)).add_(batch.length(context));
  }
  return batch;
}

void pack_decoder(Batch& batch, std::span<const TokenSequence> sequences, int64_t keep_padding_to,
                  int64_t pad_id) {
  QUELL_ASSERT(static_cast<int64_t>(sequences.size()) == batch.sequences(),
               "one decoder sequence per sequence");
  const Batch decoder = pack(sequences, keep_padding_to, pad_id);
  batch.decoder_token_ids = decoder.token_ids;
  batch.decoder_position_ids = decoder.position_ids;
  batch.decoder_offsets = decoder.offsets;
  batch.decoder_valid_lengths = decoder.valid_lengths;
}

}  // namespace quell

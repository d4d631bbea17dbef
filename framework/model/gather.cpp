#include "framework/model/gather.h"

#include <ATen/ops/cat.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/quant/real_rows.h"

namespace quell {
namespace {

int64_t columns(const Batch& batch) {
  int64_t columns = batch.pad_to;
  for (int64_t i = 0; i < batch.sequences(); ++i) columns = std::max(columns, batch.length(i));
  return columns;
}

// The rows of a tensor that the chosen sequences have; undefined where it is.
template <class Rows>
at::Tensor joined(std::span<const BatchSequence> chosen, const Rows& rows) {
  std::vector<at::Tensor> parts;
  for (const BatchSequence& one : chosen) parts.push_back(rows(one));
  return parts.front().defined() ? at::cat(parts) : at::Tensor();
}

}  // namespace

Batch gather(std::span<const Batch> batches, std::span<const BatchSequence> chosen) {
  QUELL_ASSERT(!chosen.empty(), "at least one sequence");
  Batch result;
  for (const Batch& batch : batches) {
    QUELL_ASSERT(!batch.decoder_token_ids.defined() && batch.contexts.empty(),
                 "batches without a decoder side and without contexts");
    result.pad_to = std::max(result.pad_to, columns(batch));
  }
  const auto of_tokens = [&](at::Tensor Batch::*tensor) {
    return joined(chosen, [&](const BatchSequence& one) {
      const Batch& batch = batches[one.batch];
      const at::Tensor& all = batch.*tensor;
      return all.defined() ? all.narrow(0, batch.offsets[one.sequence], batch.length(one.sequence))
                           : all;
    });
  };
  const auto of_sequences = [&](at::Tensor Batch::*tensor) {
    return joined(chosen, [&](const BatchSequence& one) {
      const at::Tensor& all = batches[one.batch].*tensor;
      return all.defined() ? all.narrow(0, one.sequence, 1) : all;
    });
  };
  result.token_ids = of_tokens(&Batch::token_ids);
  result.segment_ids = of_tokens(&Batch::segment_ids);
  result.position_ids = of_tokens(&Batch::position_ids);
  result.scored_ids = of_tokens(&Batch::scored_ids);
  result.labels = of_sequences(&Batch::labels);
  result.start_positions = of_sequences(&Batch::start_positions);
  result.end_positions = of_sequences(&Batch::end_positions);
  result.padding_unobserved = batches[chosen.front().batch].padding_unobserved;
  result.offsets = {0};
  for (const auto& [index, sequence] : chosen) {
    const Batch& batch = batches[index];
    result.offsets.push_back(result.offsets.back() + batch.length(sequence));
    result.valid_lengths.push_back(batch.valid_lengths[sequence]);
    if (!batch.example_ids.empty()) result.example_ids.push_back(batch.example_ids[sequence]);
  }
  return result;
}

Batch drop_padding(const Batch& batch) {
  QUELL_ASSERT(!batch.decoder_token_ids.defined(), "a batch without a decoder side");
  const RealRows real(batch.offsets, batch.valid_lengths);
  Batch result = batch;
  for (at::Tensor Batch::*rows : {&Batch::token_ids, &Batch::segment_ids, &Batch::position_ids}) {
    result.*rows = real.of(batch.*rows);
  }
  result.offsets = {0};
  for (const int64_t length : batch.valid_lengths) {
    result.offsets.push_back(result.offsets.back() + length);
  }
  result.padding_unobserved = false;
  return result;
}

}  // namespace quell

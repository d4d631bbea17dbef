#include "framework/model/model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"

namespace quell {
namespace {

void check_batch(const Batch& batch, const Model& model) {
  for (int64_t sequence = 0; sequence < batch.sequences(); ++sequence) {
    if (batch.length(sequence) > model.max_positions()) {
      throw DataError(
          fmt::format("sequence {} of a batch has {} tokens, but the model has {} positions; lower "
                      "task.max_length",
                      sequence, batch.length(sequence), model.max_positions()));
    }
  }
  const int64_t largest = batch.token_ids.max().item<int64_t>();
  const int64_t smallest = batch.token_ids.min().item<int64_t>();
  if (smallest < 0 || largest >= model.vocabulary_size()) {
    throw DataError(
        fmt::format("token id {} is outside of the model's vocabulary of {} entries; "
                    "the tokenizer or the file of token ids belongs to another model",
                    smallest < 0 ? smallest : largest, model.vocabulary_size()));
  }
}

}  // namespace

Outputs Model::forward(const Batch& batch, QuantContext& context) const {
  check_batch(batch, *this);
  State state;
  for (const Segment& segment : segments()) segment.run(state, batch, context);
  return std::move(state.outputs);
}

SiteId Model::add_site(Site site) {
  sites_.push_back(std::move(site));
  return static_cast<SiteId>(sites_.size() - 1);
}

}  // namespace quell

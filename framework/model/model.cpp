#include "framework/model/model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"

namespace quell {
namespace {

void check_lengths(const std::vector<int64_t>& offsets, const char* side, const Model& model) {
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const int64_t length = offsets[i + 1] - offsets[i];
    if (length <= model.max_positions()) continue;
    throw DataError(
        fmt::format("sequence {} of a batch has {} {}tokens, but the model has {} positions; lower "
                    "the maximum lengths of the task",
                    i, length, side, model.max_positions()));
  }
}

void check_ids(const at::Tensor& ids, const Model& model) {
  const int64_t largest = ids.max().item<int64_t>();
  const int64_t smallest = ids.min().item<int64_t>();
  if (smallest >= 0 && largest < model.vocabulary_size()) return;
  throw DataError(
      fmt::format("token id {} is outside of the model's vocabulary of {} entries; "
                  "the tokenizer or the file of token ids belongs to another model",
                  smallest < 0 ? smallest : largest, model.vocabulary_size()));
}

}  // namespace

void Model::check(const Batch& batch) const {
  check_lengths(batch.offsets, "", *this);
  check_ids(batch.token_ids, *this);
  if (!batch.decoder_token_ids.defined()) return;
  check_lengths(batch.decoder_offsets, "decoder ", *this);
  check_ids(batch.decoder_token_ids, *this);
}

Outputs Model::forward(const Batch& batch, QuantContext& context) const {
  check(batch);
  State state;
  for (const Segment& segment : segments()) segment.run(state, batch, context);
  return std::move(state.outputs);
}

std::unique_ptr<Decoding> Model::start_decoding(const Batch&, QuantContext&) const {
  throw ConfigError("this model writes no text; take an encoder-decoder such as bart");
}

SiteId Model::add_site(Site site) {
  sites_.push_back(std::move(site));
  return static_cast<SiteId>(sites_.size() - 1);
}

}  // namespace quell

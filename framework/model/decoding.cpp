#include "framework/model/decoding.h"

#include <ATen/ops/empty.h>
#include <algorithm>
#include <numeric>

#include "framework/base/error.h"

namespace quell {

at::Tensor KeyValueCache::append(at::Tensor& kept, const at::Tensor& rows) const {
  const at::Tensor dense = rows.contiguous();
  const int64_t width = dense.size(1);
  const int64_t written = kept.defined() ? kept.size(1) : 0;
  at::Tensor result =
      at::empty({static_cast<int64_t>(parents.size()), written + 1, width}, dense.options());
  const float* added = dense.const_data_ptr<float>();
  float* target = result.mutable_data_ptr<float>();
  for (size_t i = 0; i < parents.size(); ++i) {
    if (written > 0) {
      const float* from = kept.const_data_ptr<float>() + parents[i] * written * width;
      target = std::copy_n(from, written * width, target);
    }
    target = std::copy_n(added + static_cast<int64_t>(i) * width, width, target);
  }
  kept = result;
  return result.view({-1, width});
}

Decoding::Decoding(const Model& model, const Batch& batch, const Pass& pass)
    : model_(model), pass_(pass), batch_(batch), sources_(batch.sequences()) {
  if (!model.writes_text()) {
    throw ConfigError("this model writes no text; take an encoder-decoder such as bart");
  }
  std::iota(sources_.begin(), sources_.end(), int64_t{0});
  batch_.decoder_token_ids = at::Tensor();
  const ModelInput input = model.bind(batch_);
  State state;
  for (const Segment& segment : model.segments()) {
    if (segment.is_encoder) segment.run(state, input, pass);
  }
  encoder_rows_ = state.rows;
}

at::Tensor Decoding::step(std::span<const int64_t> parents, std::span<const int64_t> tokens) {
  QUELL_ASSERT(parents.size() == tokens.size(), "one token per hypothesis");
  std::vector<int64_t> sources;
  for (const int64_t parent : parents) sources.push_back(sources_[parent]);
  sources_ = std::move(sources);
  QUELL_ASSERT(std::is_sorted(sources_.begin(), sources_.end()), "hypotheses out of order");
  const ModelInput input = model_.bind_next(batch_, sources_, tokens, written_++);
  cache_.parents.assign(parents.begin(), parents.end());
  State state{.rows = encoder_rows_, .memory = {}, .cache = &cache_, .outputs = {}};
  for (const Segment& segment : model_.segments()) {
    if (!segment.is_encoder) segment.run(state, input, pass_);
  }
  return state.outputs.at("logits");
}

}  // namespace quell

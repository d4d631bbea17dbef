#include "framework/model/decoding.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <algorithm>
#include <numeric>

#include "framework/base/error.h"

namespace quell {

bool is_decoder(const Model& model) {
  return model.output_rows() == RowsOf::kTargets &&
         std::none_of(model.segments().begin(), model.segments().end(),
                      [](const Segment& segment) { return segment.is_encoder; });
}

at::Tensor KeyValueCache::append(at::Tensor& kept, const at::Tensor& rows) const {
  const auto hypotheses = static_cast<int64_t>(parents.size());
  const at::Tensor added = rows.reshape({hypotheses, rows.size(0) / hypotheses, rows.size(1)});
  if (!kept.defined()) {
    kept = added.clone();  // rows may be overwritten
  } else {
    bool keeps_all = kept.size(0) == hypotheses;
    for (int64_t i = 0; keeps_all && i < hypotheses; ++i) keeps_all = parents[i] == i;
    if (!keeps_all) {
      kept = kept.index_select(0, at::tensor(parents, at::kLong).to(rows.device()));
    }
    kept = at::cat({kept, added}, 1);
  }
  return kept.view({-1, rows.size(1)});
}

Decoding::Decoding(const Model& model, const Batch& batch, const Pass& pass)
    : model_(model), pass_(pass), batch_(batch), sources_(batch.sequences()) {
  if (!model.writes_text()) {
    throw ConfigError("this model writes no text; take a decoder, or an encoder-decoder as bart");
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
  const auto hypotheses = std::ssize(parents), each = std::ssize(tokens) / hypotheses;
  QUELL_ASSERT(each > 0 && hypotheses * each == std::ssize(tokens),
               "equally many tokens of each hypothesis");
  std::vector<int64_t> sources;
  for (const int64_t parent : parents) sources.push_back(sources_[parent]);
  sources_ = std::move(sources);
  QUELL_ASSERT(std::is_sorted(sources_.begin(), sources_.end()), "hypotheses out of order");
  const ModelInput input = model_.bind_next(batch_, sources_, tokens, written_);
  written_ += each;
  cache_.parents.assign(parents.begin(), parents.end());
  State state{.rows = encoder_rows_, .memory = {}, .cache = &cache_, .outputs = {}};
  const Segment& head = model_.segments().back();
  for (const Segment& segment : model_.segments()) {
    if (segment.is_encoder) continue;
    if (&segment == &head && each > 1) {
      at::Tensor& rows = state.rows.values;
      rows = rows.index_select(
          0, at::arange(each - 1, hypotheses * each, each, rows.options().dtype(at::kLong)));
    }
    segment.run(state, input, pass_);
  }
  return state.outputs.at("logits");
}

}  // namespace quell

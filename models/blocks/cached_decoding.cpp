#include "models/blocks/cached_decoding.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <algorithm>
#include <numeric>

#include "framework/base/error.h"

namespace quell {
namespace {

// What the parents have kept, and one row more: [hypotheses, written + 1, hidden].
at::Tensor append(const at::Tensor& kept, std::span<const int64_t> parents, const at::Tensor& row) {
  const at::Tensor dense = row.contiguous();
  const int64_t hidden = dense.size(1);
  const int64_t written = kept.defined() ? kept.size(1) : 0;
  at::Tensor result =
      at::empty({static_cast<int64_t>(parents.size()), written + 1, hidden}, dense.options());
  const float* added = dense.const_data_ptr<float>();
  float* target = result.mutable_data_ptr<float>();
  for (size_t i = 0; i < parents.size(); ++i) {
    if (written > 0) {
      const float* from = kept.const_data_ptr<float>() + parents[i] * written * hidden;
      target = std::copy_n(from, written * hidden, target);
    }
    target = std::copy_n(added + static_cast<int64_t>(i) * hidden, hidden, target);
  }
  return result;
}

at::Tensor as_rows(const at::Tensor& cache) { return cache.view({-1, cache.size(2)}); }

}  // namespace

CachedDecoding::CachedDecoding(const PostNormStack& decoder, const Head& head,
                               const at::Tensor& encoder_rows, const Batch& batch,
                               QuantContext& context)
    : decoder_(decoder),
      head_(head),
      context_(context),
      batch_(batch),
      sources_(batch.sequences()) {
  std::iota(sources_.begin(), sources_.end(), int64_t{0});
  for (const PostNormLayer& layer : decoder.layers) {
    LayerCache cache;
    cache.cross_keys = layer.cross_attention->keys(encoder_rows, context);
    cache.cross_values = layer.cross_attention->values(encoder_rows, context);
    layers_.push_back(std::move(cache));
  }
}

AttentionSpans CachedDecoding::self_spans() const {
  const auto hypotheses = static_cast<int64_t>(sources_.size());
  AttentionSpans spans;
  for (int64_t i = 0; i <= hypotheses; ++i) {
    spans.queries.push_back(i);
    spans.keys.push_back(i * written_);
  }
  spans.valid_keys.assign(hypotheses, written_);
  return spans;
}

// All hypotheses of a sequence are queries to its rows.
AttentionSpans CachedDecoding::cross_spans() const {
  AttentionSpans spans{{0}, batch_.offsets, batch_.valid_lengths, /*causal=*/false, batch_.pad_to};
  for (int64_t sequence = 0; sequence < batch_.sequences(); ++sequence) {
    const auto count = std::count(sources_.begin(), sources_.end(), sequence);
    spans.queries.push_back(spans.queries.back() + count);
  }
  return spans;
}

at::Tensor CachedDecoding::step(std::span<const int64_t> parents, std::span<const int64_t> tokens) {
  QUELL_ASSERT(parents.size() == tokens.size(), "one token per hypothesis");
  std::vector<int64_t> sources;
  for (const int64_t parent : parents) sources.push_back(sources_[parent]);
  sources_ = std::move(sources);
  QUELL_ASSERT(std::is_sorted(sources_.begin(), sources_.end()), "hypotheses out of order");
  const auto count = static_cast<int64_t>(tokens.size());
  at::Tensor rows = embed(decoder_, at::tensor(at::ArrayRef<int64_t>(tokens.data(), tokens.size())),
                          at::full({count}, written_, at::kLong), context_);
  ++written_;
  const AttentionSpans self = self_spans(), cross = cross_spans();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const PostNormLayer& layer = decoder_.layers[i];
    LayerCache& cache = layers_[i];
    cache.keys = append(cache.keys, parents, layer.attention.keys(rows, context_));
    cache.values = append(cache.values, parents, layer.attention.values(rows, context_));
    rows = layer.attention.attend(rows, self, as_rows(cache.keys), as_rows(cache.values), context_);
    rows =
        layer.cross_attention->attend(rows, cross, cache.cross_keys, cache.cross_values, context_);
    rows = layer.ffn.forward(rows, context_);
  }
  return head_.run(rows, batch_, context_).at("logits");
}

}  // namespace quell

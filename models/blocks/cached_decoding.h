// Decoding with the keys and values of earlier tokens kept.
#pragma once

#include <vector>

#include "framework/model/decoding.h"
#include "models/blocks/head.h"
#include "models/blocks/post_norm_layers.h"

namespace quell {

class CachedDecoding final : public Decoding {
 public:
  // `encoder_rows` [tokens, hidden] of `batch`, which may go out of scope.
  CachedDecoding(const PostNormStack& decoder, const Head& head, const at::Tensor& encoder_rows,
                 const Batch& batch, QuantContext& context);

  at::Tensor step(std::span<const int64_t> parents, std::span<const int64_t> tokens) override;

 private:
  struct LayerCache {
    at::Tensor keys, values;              // [hypotheses, written, hidden]
    at::Tensor cross_keys, cross_values;  // [tokens, hidden]
  };

  AttentionSpans self_spans() const;
  AttentionSpans cross_spans() const;

  const PostNormStack& decoder_;
  const Head& head_;
  QuantContext& context_;
  Batch batch_;
  std::vector<LayerCache> layers_;
  std::vector<int64_t> sources_;  // [hypotheses], the sequence that each is written for
  int64_t written_ = 0;           // tokens of each hypothesis
};

}  // namespace quell

// The blocks of an encoder-decoder whose norms come behind the residual sums (Vaswani et al. 2017;
// Lewis et al. 2020, BART): attention to the own sequence or to the encoder's, and feed-forward.
#pragma once

#include <ATen/core/Tensor.h>
#include <deque>
#include <memory>
#include <string>

#include "framework/model/model.h"
#include "models/blocks/attention.h"
#include "models/blocks/declarations.h"
#include "models/blocks/hf_config.h"

namespace quell {

// norm(scale * rows + output(attention(query(rows), key(memory), value(memory)))).
struct AttentionBlock {
  Linear query, key, value, output;
  SiteId query_site = kNoSite, key_site = kNoSite, value_site = kNoSite, output_site = kNoSite;
  AttentionSites sites;
  Shortcut shortcut;
  Norm norm;
  int64_t heads = 0;
  std::string shortcut_name;  // of the shortcut's scale, in a trained model

  // Query rows are divided by the root of the head size before their site, as in BART.
  at::Tensor queries(const at::Tensor& rows, QuantContext& context) const;
  at::Tensor keys(const at::Tensor& memory, QuantContext& context) const;
  at::Tensor values(const at::Tensor& memory, QuantContext& context) const;
  at::Tensor forward(const at::Tensor& rows, const AttentionSpans& spans, const at::Tensor& memory,
                     QuantContext& context) const;
  // The same for keys and values that are there already.
  at::Tensor attend(const at::Tensor& rows, const AttentionSpans& spans, const at::Tensor& keys,
                    const at::Tensor& values, QuantContext& context) const;
};

// norm(scale * rows + output(nonlinearity(intermediate(rows)))).
struct FeedForwardBlock {
  Linear intermediate, output;
  SiteId hidden_site = kNoSite, output_site = kNoSite;
  Shortcut shortcut;
  Norm norm;
  Nonlinearity nonlinearity = Nonlinearity::kGelu;
  std::string shortcut_name;

  at::Tensor forward(const at::Tensor& rows, QuantContext& context) const;
};

struct PostNormLayer {
  AttentionBlock attention;
  std::unique_ptr<AttentionBlock> cross_attention;  // of a decoder
  FeedForwardBlock ffn;

  at::Tensor forward(const at::Tensor& rows, const AttentionSpans& spans,
                     QuantContext& context) const;
  // Of a decoder: attends to itself and to the encoder's rows.
  at::Tensor forward(const at::Tensor& rows, const AttentionSpans& spans,
                     const at::Tensor& encoder_rows, const AttentionSpans& cross_spans,
                     QuantContext& context) const;
};

// The encoder or the decoder: tables, the norm behind their sum, layers.
struct PostNormStack {
  std::string name;    // "encoder"
  std::string prefix;  // of its tensors: "model.encoder."
  SiteId word_site = kNoSite, position_site = kNoSite;
  at::Tensor words, positions;
  double word_scale = 1;
  Norm embedding_norm;
  std::deque<PostNormLayer> layers;  // the graph points into them
  std::vector<SiteId> first_sites;   // of the layers
};

// The learned positions of BART start at row 2 of their table.
inline constexpr int64_t kPositionOffset = 2;

void expect_stack(const PostNormStack& stack, const HfEncoderDecoderConfig& config,
                  std::vector<ExpectedTensor>& expected);
// Declares all sites of the stack, in the order of execution.
void declare_stack(PostNormStack& stack, const HfEncoderDecoderConfig& config,
                   Declarations& declarations);
// Token ids and their 0-based positions -> rows.
at::Tensor embed(const PostNormStack& stack, const at::Tensor& ids, const at::Tensor& positions,
                 QuantContext& context);

}  // namespace quell

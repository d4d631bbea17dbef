// The encoder-decoder of BART (Lewis et al. 2020) and its relatives.
#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/io/checkpoint.h"
#include "framework/model/model.h"
#include "models/blocks/head.h"
#include "models/blocks/post_norm_layers.h"

namespace quell {

// Without a decoder side of the batch, the decoder reads the sequence itself, one place later and
// behind the start token: what classification and question answering do.
class EncoderDecoder : public Model {
 public:
  EncoderDecoder(const Checkpoint& checkpoint, std::unique_ptr<Head> head);

  const at::Tensor& weight(SiteId id) const override { return site_weights_.at(id); }
  std::span<const Segment> segments() const override { return segments_; }
  std::map<std::string, at::Tensor> parameters() const override;
  DropoutRates dropout_rates() const override { return config_.dropout; }
  int64_t other_parameters() const override;
  int64_t max_positions() const override { return config_.max_positions; }
  int64_t vocabulary_size() const override { return config_.vocabulary_size; }
  int64_t pad_id() const override { return config_.pad_id; }
  Outputs zero_outputs(const Batch& batch) const override { return head_->zero_outputs(batch); }
  bool writes_text() const override { return head_->writes_text(); }
  std::unique_ptr<Decoding> start_decoding(const Batch& batch,
                                           QuantContext& context) const override;

 private:
  std::map<std::string, at::Tensor> load(const Checkpoint& checkpoint) const;
  HeadSizes head_sizes() const { return {config_.hidden, config_.labels, config_.vocabulary_size}; }
  at::Tensor decoder_ids(const Batch& batch) const;
  void declare_segments();
  void add_group(Norm& norm, std::initializer_list<const Linear*> linears, Shortcut* shortcut);
  Norm& declare_groups(PostNormStack& stack);
  void declare_norm_groups();

  HfEncoderDecoderConfig config_;
  std::unique_ptr<Head> head_;
  PostNormStack encoder_{"encoder", "model.encoder."};
  PostNormStack decoder_{"decoder", "model.decoder."};
  std::map<std::string, at::Tensor> tensors_;
  std::map<SiteId, at::Tensor> site_weights_;
  SiteId head_site_ = kNoSite;  // the head's first
  std::vector<Segment> segments_;
};

}  // namespace quell

// The encoder that BERT and its relatives share (Devlin et al. 2019), and what tells them apart:
// the names of their tensors, how positions count, and the head.
#pragma once

#include <ATen/core/Tensor.h>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/io/checkpoint.h"
#include "framework/model/model.h"
#include "models/blocks/attention.h"
#include "models/blocks/declarations.h"
#include "models/blocks/head.h"
#include "models/blocks/hf_config.h"
#include "models/blocks/layers.h"

namespace quell {

struct EncoderFamily {
  std::string prefix;  // of all tensors but the head's: "bert."
  // Positions count from behind the id of the padding token, and padding has that one.
  bool positions_behind_padding = false;
  // BERT's names of a layer's modules -> this family's, where they differ.
  std::map<std::string, std::string> modules = {};
  std::string layers = "encoder.layer";
  // The names of sizes in config.json.
  EncoderKeys keys = {};
};

// A plug-in's model: family and head make it.
class Encoder : public Model {
 public:
  Encoder(const Checkpoint& checkpoint, EncoderFamily family, std::unique_ptr<Head> head);

  const at::Tensor& weight(SiteId id) const override { return site_weights_.at(id); }
  std::span<const Segment> segments() const override { return segments_; }
  std::map<std::string, at::Tensor> parameters() const override;
  DropoutRates dropout_rates() const override { return config_.dropout; }
  int64_t other_parameters() const override;
  int64_t max_positions() const override { return config_.max_positions - first_position(); }
  int64_t vocabulary_size() const override { return config_.vocabulary_size; }
  int64_t pad_id() const override { return config_.pad_id; }
  Outputs zero_outputs(const Batch& batch) const override { return head_->zero_outputs(batch); }

 private:
  struct Layer {
    Linear query, key, value, attention_output, intermediate, ffn_output;
    Norm attention_norm, ffn_norm;
    Shortcut attention_shortcut, ffn_shortcut;
    AttentionSites attention;
    SiteId query_site, key_site, value_site, attention_output_site, attention_residual_site;
    SiteId gelu_site, ffn_output_site, ffn_residual_site;
  };

  std::map<std::string, at::Tensor> load(const Checkpoint& checkpoint) const;
  // The name of a module, or of the tensor of a shortcut, in a layer: "attention.self.query".
  std::string in_layer(int64_t layer, const std::string& module) const;

  void declare_embeddings(Declarations& declarations);
  void declare_layer(int64_t index, Declarations& declarations);
  void declare_attention(int64_t index, Declarations& declarations, Layer& layer);
  void declare_segments();
  void declare_norm_groups();

  int64_t first_position() const {
    return family_.positions_behind_padding ? config_.pad_id + 1 : 0;
  }
  at::Tensor positions(const Batch& batch) const;
  void check_segments(const Batch& batch) const;
  at::Tensor embed(const Batch& batch, QuantContext& context) const;
  at::Tensor run_layer(const Layer& layer, const at::Tensor& rows, const Batch& batch,
                       QuantContext& context) const;
  bool needs_all_rows(const Layer& layer, const QuantContext& context) const;

  HeadSizes head_sizes() const { return {config_.hidden, config_.labels, config_.vocabulary_size}; }

  HfEncoderConfig config_;
  EncoderFamily family_;
  std::unique_ptr<Head> head_;
  std::map<std::string, at::Tensor> tensors_;
  std::map<SiteId, at::Tensor> site_weights_;
  SiteId word_site_, position_site_, sum_position_site_;
  SiteId token_type_site_ = kNoSite, sum_token_type_site_ = kNoSite;  // where there are such
  Norm embedding_norm_;
  std::deque<Layer> layers_;         // the graph points into them
  std::vector<SiteId> first_sites_;  // of the layers and the head
  std::vector<Segment> segments_;
};

}  // namespace quell

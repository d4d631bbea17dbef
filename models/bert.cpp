// BERT for sequence classification and regression (Devlin et al. 2019), Hugging Face layout.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/io/checkpoint.h"
#include "framework/model/model.h"
#include "framework/plugin/registry.h"
#include "models/blocks/attention.h"
#include "models/blocks/hf_config.h"
#include "models/blocks/layers.h"

namespace quell {
namespace {

struct Layer {
  Linear query, key, value, attention_output, intermediate, ffn_output;
  Norm attention_norm, ffn_norm;
  Shortcut attention_shortcut, ffn_shortcut;
  AttentionSites attention;
  SiteId query_site, key_site, value_site, attention_output_site, attention_residual_site;
  SiteId gelu_site, ffn_output_site, ffn_residual_site;
};

class Bert final : public Model {
 public:
  Bert(const NoParams&, const Checkpoint& checkpoint)
      : config_(checkpoint), tensors_(load(checkpoint)) {
    declare_embeddings();
    for (int64_t i = 0; i < config_.layers; ++i) declare_layer(i);
    declare_head();
    declare_segments();
    declare_norm_groups();
  }

  const at::Tensor& weight(SiteId id) const override { return site_weights_.at(id); }
  std::span<const Segment> segments() const override { return segments_; }
  std::map<std::string, at::Tensor> parameters() const override;
  DropoutRates dropout_rates() const override { return config_.dropout; }
  int64_t other_parameters() const override {
    int64_t total = 0;
    for (const auto& [name, tensor] : tensors_) total += tensor.numel();
    for (const auto& [id, tensor] : site_weights_) total -= tensor.numel();
    return total;
  }
  int64_t max_positions() const override { return config_.max_positions; }
  int64_t vocabulary_size() const override { return config_.vocabulary_size; }
  int64_t pad_id() const override { return config_.pad_id; }
  Outputs zero_outputs(const Batch& batch) const override {
    return {{"logits", at::zeros({batch.sequences(), config_.labels})}};
  }

 private:
  std::map<std::string, at::Tensor> load(const Checkpoint& checkpoint) const;
  const at::Tensor& tensor(const std::string& name) const { return tensors_.at(name); }

  // Sites, in the order of execution; `published` completes the names of the two papers' code.
  struct Published {
    std::string outlier_suppression;
    std::string qualcomm;
  };
  Site site(SiteKind kind, const std::string& name, const std::string& role, int64_t layer,
            const Published& published) const;
  SiteId weight_site(const std::string& name, const std::string& role, int64_t layer,
                     const std::string& tensor_name);
  SiteId activation_site(const std::string& name, const std::string& role, int64_t layer,
                         const Published& published);
  Linear linear(const std::string& name, const std::string& role, int64_t layer,
                const std::string& module);
  Norm norm(const std::string& name, int64_t layer, const std::string& module);

  void declare_embeddings();
  void declare_layer(int64_t index);
  void declare_head();
  void declare_segments();
  void declare_norm_groups();

  void check_segments(const Batch& batch) const;
  at::Tensor embed(const Batch& batch, QuantContext& context) const;
  at::Tensor run_layer(const Layer& layer, const at::Tensor& rows, const Batch& batch,
                       QuantContext& context) const;
  bool needs_all_rows(const Layer& layer, const QuantContext& context) const;
  at::Tensor classify(const at::Tensor& rows, const Batch& batch, QuantContext& context) const;

  HfEncoderConfig config_;
  std::map<std::string, at::Tensor> tensors_;
  std::map<SiteId, at::Tensor> site_weights_;
  SiteId word_site_, position_site_, token_type_site_, sum_token_type_site_, sum_position_site_;
  Norm embedding_norm_;
  std::deque<Layer> layers_;         // the graph points into them
  std::vector<SiteId> first_sites_;  // of the layers and the head
  SiteId pooler_input_site_, pooler_output_site_, logits_site_;
  Linear pooler_, classifier_;
  std::vector<Segment> segments_;
};

std::string layer_prefix(int64_t layer) { return fmt::format("bert.encoder.layer.{}.", layer); }

// The first token of each sequence, [sequences, hidden]; `rows` has them already, or all tokens.
at::Tensor first_rows(const at::Tensor& rows, const Batch& batch) {
  if (rows.size(0) == batch.sequences()) return rows;
  std::vector<int64_t> first_tokens(batch.offsets.begin(), batch.offsets.end() - 1);
  return at::index_select(rows, 0, at::tensor(first_tokens, at::kLong));
}

std::map<std::string, at::Tensor> Bert::load(const Checkpoint& checkpoint) const {
  const int64_t hidden = config_.hidden, ffn = config_.ffn;
  std::vector<ExpectedTensor> expected;
  const auto expect = [&](const std::string& name, std::vector<int64_t> shape) {
    expected.push_back({name, std::move(shape)});
  };
  const auto expect_linear = [&](const std::string& module, int64_t outputs, int64_t inputs) {
    expect(module + ".weight", {outputs, inputs});
    expect(module + ".bias", {outputs});
  };
  const auto expect_norm = [&](const std::string& module) {
    expect(module + ".weight", {hidden});
    expect(module + ".bias", {hidden});
  };
  expect("bert.embeddings.word_embeddings.weight", {config_.vocabulary_size, hidden});
  expect("bert.embeddings.position_embeddings.weight", {config_.max_positions, hidden});
  expect("bert.embeddings.token_type_embeddings.weight", {config_.token_types, hidden});
  expect_norm("bert.embeddings.LayerNorm");
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string prefix = layer_prefix(i);
    for (const char* part : {"query", "key", "value"}) {
      expect_linear(prefix + "attention.self." + part, hidden, hidden);
    }
    expect_linear(prefix + "attention.output.dense", hidden, hidden);
    expect_norm(prefix + "attention.output.LayerNorm");
    expect_linear(prefix + "intermediate.dense", ffn, hidden);
    expect_linear(prefix + "output.dense", hidden, ffn);
    expect_norm(prefix + "output.LayerNorm");
    for (const char* scale : {"attention.output.shortcut.scale", "output.shortcut.scale"}) {
      expected.push_back({prefix + scale, {hidden}, /*optional=*/true});
    }
  }
  expect_linear("bert.pooler.dense", hidden, hidden);
  expect_linear("classifier", config_.labels, hidden);
  return checkpoint.load(expected, {"position_ids"}, "bert.");
}

std::map<std::string, at::Tensor> Bert::parameters() const {
  std::map<std::string, at::Tensor> parameters = tensors_;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::string prefix = layer_prefix(static_cast<int64_t>(i));
    const at::Tensor& attention = layers_[i].attention_shortcut.scale;
    const at::Tensor& ffn = layers_[i].ffn_shortcut.scale;
    if (attention.defined()) parameters[prefix + "attention.output.shortcut.scale"] = attention;
    if (ffn.defined()) parameters[prefix + "output.shortcut.scale"] = ffn;
  }
  return parameters;
}

Site Bert::site(SiteKind kind, const std::string& name, const std::string& role, int64_t layer,
                const Published& published) const {
  Site site;
  site.kind = kind;
  site.role = role;
  site.layer = layer;
  site.name = layer < 0 ? name : fmt::format("encoder.{}.{}", layer, name);
  if (layer == config_.layers - 1) site.alias = "encoder.last." + name;
  if (!published.outlier_suppression.empty()) {
    site.published_names.emplace_back("outlier_suppression", published.outlier_suppression);
  }
  if (!published.qualcomm.empty())
    site.published_names.emplace_back("qualcomm", published.qualcomm);
  return site;
}

SiteId Bert::weight_site(const std::string& name, const std::string& role, int64_t layer,
                         const std::string& tensor_name) {
  // Both code bases name a weight quantizer after its module; Qualcomm fuses a linear with the
  // non-linearity behind it into one sequential module.
  const std::string module = tensor_name.substr(0, tensor_name.rfind('.'));
  std::string qualcomm = module;
  if (role == "intermediate") qualcomm.replace(qualcomm.rfind("dense"), 5, "0");
  if (name == "pooler.dense") qualcomm = "bert.pooler.dense_act.0";
  Published published{module + ".weight_fake_quant", qualcomm + ".weight_quantizer"};
  if (role == "norm") published.outlier_suppression.clear();
  const SiteId id = add_site(site(SiteKind::kWeight, name, role, layer, published));
  site_weights_[id] = tensor(tensor_name);
  return id;
}

SiteId Bert::activation_site(const std::string& name, const std::string& role, int64_t layer,
                             const Published& published) {
  return add_site(site(SiteKind::kActivation, name, role, layer, published));
}

Linear Bert::linear(const std::string& name, const std::string& role, int64_t layer,
                    const std::string& module) {
  return {tensor(module + ".weight"), tensor(module + ".bias"),
          weight_site(name, role, layer, module + ".weight")};
}

Norm Bert::norm(const std::string& name, int64_t layer, const std::string& module) {
  Norm result{tensor(module + ".weight"), tensor(module + ".bias"), config_.norm_epsilon};
  result.weight_site = weight_site(name, "norm", layer, module + ".weight");
  result.output_site = activation_site(
      name, "norm", layer,
      {module + ".layernorm_post_act_fake_quantize", module + ".activation_quantizer"});
  return result;
}

void Bert::declare_embeddings() {
  const std::string prefix = "bert.embeddings.";
  word_site_ = weight_site("embeddings.word", "embedding", -1, prefix + "word_embeddings.weight");
  position_site_ =
      weight_site("embeddings.position", "embedding", -1, prefix + "position_embeddings.weight");
  token_type_site_ = weight_site("embeddings.token_type", "embedding", -1,
                                 prefix + "token_type_embeddings.weight");
  sum_token_type_site_ = activation_site(
      "embeddings.sum_token_type", "embedding_sum", -1,
      {"", prefix + "sum_input_token_type_embd_act_quantizer.activation_quantizer"});
  sum_position_site_ =
      activation_site("embeddings.sum_position", "embedding_sum", -1,
                      {"", prefix + "sum_pos_embd_act_quantizer.activation_quantizer"});
  embedding_norm_ = norm("embeddings.norm", -1, prefix + "LayerNorm");
}

void Bert::declare_layer(int64_t i) {
  const std::string self = layer_prefix(i) + "attention.self.";
  const std::string attention = layer_prefix(i) + "attention.output.";
  const std::string output = layer_prefix(i) + "output.";
  const auto activation = [&](const std::string& name, const std::string& role,
                              const Published& published) {
    return activation_site(name, role, i, published);
  };
  first_sites_.push_back(next_site());
  Layer& layer = layers_.emplace_back();
  layer.query = linear("attention.query", "query", i, self + "query");
  layer.query_site = activation(
      "attention.query", "query",
      {self + "query_permute_post_act_fake_quantize", self + "query.activation_quantizer"});
  layer.key = linear("attention.key", "key", i, self + "key");
  layer.key_site = activation(
      "attention.key", "key",
      {self + "key_transpose_post_act_fake_quantize", self + "key.activation_quantizer"});
  layer.value = linear("attention.value", "value", i, self + "value");
  layer.value_site = activation(
      "attention.value", "value",
      {self + "value_permute_post_act_fake_quantize", self + "value.activation_quantizer"});
  layer.attention.scores = activation(
      "attention.scores", "scores", {"", self + "attn_scores_act_quantizer.activation_quantizer"});
  layer.attention.probs = activation("attention.probs", "probs",
                                     {self + "attention_probs_post_act_fake_quantize",
                                      self + "attn_probs_act_quantizer.activation_quantizer"});
  layer.attention.context = activation("attention.context", "context",
                                       {self + "context_view_post_act_fake_quantize",
                                        self + "context_act_quantizer.activation_quantizer"});
  layer.attention_output = linear("attention.output", "attention_output", i, attention + "dense");
  layer.attention_output_site = activation(
      "attention.output", "attention_output",
      {attention + "output_post_act_fake_quantize", attention + "dense.activation_quantizer"});
  layer.attention_residual_site = activation(
      "attention.residual", "residual", {"", attention + "res_act_quantizer.activation_quantizer"});
  layer.attention_norm = norm("attention.norm", i, attention + "LayerNorm");
  layer.intermediate =
      linear("ffn.intermediate", "intermediate", i, layer_prefix(i) + "intermediate.dense");
  layer.gelu_site =
      activation("ffn.gelu", "gelu",
                 {layer_prefix(i) + "intermediate.intermediate_act_fn_post_act_fake_quantize",
                  layer_prefix(i) + "intermediate.0.activation_quantizer"});
  layer.ffn_output = linear("ffn.output", "ffn_output", i, output + "dense");
  layer.ffn_output_site =
      activation("ffn.output", "ffn_output",
                 {output + "output_post_act_fake_quantize", output + "dense.activation_quantizer"});
  layer.ffn_residual_site = activation("ffn.residual", "residual",
                                       {"", output + "res_act_quantizer.activation_quantizer"});
  layer.ffn_norm = norm("ffn.norm", i, output + "LayerNorm");
  // Only what was trained after gamma migration has these.
  const auto scale_of = [&](const std::string& module) {
    const auto found = tensors_.find(module + "shortcut.scale");
    return found == tensors_.end() ? at::Tensor() : found->second;
  };
  layer.attention_shortcut.scale = scale_of(attention);
  layer.ffn_shortcut.scale = scale_of(output);
}

void Bert::declare_head() {
  first_sites_.push_back(next_site());
  pooler_input_site_ = activation_site("pooler.input", "head_input", -1,
                                       {"bert.pooler.getitem_post_act_fake_quantize", ""});
  pooler_ = linear("pooler.dense", "head", -1, "bert.pooler.dense");
  pooler_output_site_ = activation_site(
      "pooler.output", "head_hidden", -1,
      {"dropout_post_act_fake_quantize", "bert.pooler.dense_act.0.activation_quantizer"});
  classifier_ = linear("classifier", "head", -1, "classifier");
  logits_site_ =
      activation_site("classifier.logits", "logits", -1, {"", "classifier.activation_quantizer"});
}

void Bert::declare_segments() {
  segments_.push_back(
      {"embeddings", word_site_, [this](State& state, const Batch& batch, QuantContext& context) {
         state.rows = embed(batch, context);
       }});
  for (size_t i = 0; i < layers_.size(); ++i) {
    segments_.push_back({fmt::format("encoder.{}", i), first_sites_[i],
                         [this, i](State& state, const Batch& batch, QuantContext& context) {
                           state.rows = run_layer(layers_[i], state.rows, batch, context);
                         }});
  }
  segments_.push_back({"head", first_sites_.back(),
                       [this](State& state, const Batch& batch, QuantContext& context) {
                         state.outputs["logits"] = classify(state.rows, batch, context);
                       }});
}

void Bert::declare_norm_groups() {
  const auto add = [&](Norm& norm, std::initializer_list<const Linear*> linears,
                       std::vector<Shortcut*> shortcuts) {
    NormGroup group = norm.group(sites()[norm.output_site].name);
    for (const Linear* linear : linears) {
      group.consumers.push_back({linear->weight, linear->weight_site});
    }
    group.left_alone = shortcuts.empty();
    group.shortcuts = std::move(shortcuts);
    add_norm_group(std::move(group));
  };
  Norm* previous = &embedding_norm_;
  for (Layer& layer : layers_) {
    add(*previous, {&layer.query, &layer.key, &layer.value}, {&layer.attention_shortcut});
    add(layer.attention_norm, {&layer.intermediate}, {&layer.ffn_shortcut});
    previous = &layer.ffn_norm;
  }
  add(*previous, {&pooler_}, {});
}

void Bert::check_segments(const Batch& batch) const {
  const auto largest = batch.segment_ids.max().item<int64_t>();
  const auto smallest = batch.segment_ids.min().item<int64_t>();
  if (smallest >= 0 && largest < config_.token_types) return;
  throw DataError(
      fmt::format("segment id {} is outside of the model's {} token types; the token ids "
                  "belong to another model",
                  smallest < 0 ? smallest : largest, config_.token_types));
}

at::Tensor Bert::embed(const Batch& batch, QuantContext& context) const {
  check_segments(batch);
  const auto look_up = [&](SiteId id, const at::Tensor& ids) {
    return at::embedding(context.weight(id, weight(id)), ids);
  };
  at::Tensor rows = look_up(word_site_, batch.token_ids);
  rows = context.activation(sum_token_type_site_,
                            rows.add_(look_up(token_type_site_, batch.segment_ids)));
  rows = context.activation(sum_position_site_,
                            rows.add_(look_up(position_site_, batch.position_ids)));
  return context.dropout(DropoutPlace::kHidden, embedding_norm_.forward(context, rows));
}

// The head reads the first token of each sequence, and behind the last attention no token reads
// another. The others are left out, but not while somebody looks at them, nor while learning, where
// their number scales gradients.
bool Bert::needs_all_rows(const Layer& layer, const QuantContext& context) const {
  if (at::GradMode::is_enabled()) return true;
  const SiteId sites[] = {layer.attention_output_site,
                          layer.attention_residual_site,
                          layer.attention_norm.output_site,
                          layer.gelu_site,
                          layer.ffn_output_site,
                          layer.ffn_residual_site,
                          layer.ffn_norm.output_site};
  return std::any_of(std::begin(sites), std::end(sites),
                     [&](SiteId id) { return context.needs_rows(id); });
}

at::Tensor Bert::run_layer(const Layer& layer, const at::Tensor& rows, const Batch& batch,
                           QuantContext& context) const {
  const at::Tensor query = context.activation(layer.query_site, layer.query.forward(context, rows));
  const at::Tensor key = context.activation(layer.key_site, layer.key.forward(context, rows));
  const at::Tensor value = context.activation(layer.value_site, layer.value.forward(context, rows));
  at::Tensor attended =
      self_attention(batch, context, layer.attention, config_.heads, query, key, value);
  at::Tensor shortcut = rows;
  if (&layer == &layers_.back() && !needs_all_rows(layer, context)) {
    attended = first_rows(attended, batch);
    shortcut = first_rows(rows, batch);
  }
  at::Tensor sum = context.activation(layer.attention_output_site,
                                      layer.attention_output.forward(context, attended));
  sum = context.dropout(DropoutPlace::kHidden, std::move(sum));
  sum = context.activation(layer.attention_residual_site,
                           layer.attention_shortcut.add(std::move(sum), shortcut));
  const at::Tensor normalized = layer.attention_norm.forward(context, sum);

  at::Tensor hidden = apply(config_.nonlinearity, layer.intermediate.forward(context, normalized));
  hidden = context.activation(layer.gelu_site, std::move(hidden));
  sum = context.activation(layer.ffn_output_site, layer.ffn_output.forward(context, hidden));
  sum = context.dropout(DropoutPlace::kHidden, std::move(sum));
  sum = context.activation(layer.ffn_residual_site,
                           layer.ffn_shortcut.add(std::move(sum), normalized));
  return layer.ffn_norm.forward(context, sum);
}

at::Tensor Bert::classify(const at::Tensor& rows, const Batch& batch, QuantContext& context) const {
  at::Tensor cls = first_rows(rows, batch);
  cls = context.activation(pooler_input_site_, std::move(cls));
  cls = apply(Nonlinearity::kTanh, pooler_.forward(context, cls));
  cls = context.activation(pooler_output_site_, std::move(cls));
  cls = context.dropout(DropoutPlace::kHead, std::move(cls));
  return context.activation(logits_site_, classifier_.forward(context, cls));
}

}  // namespace

void register_model_bert(Plugins& plugins) {
  add_plugin<Bert, NoParams>(plugins.models, "bert",
                             "BERT encoder with a classification or regression head.",
                             "Devlin et al. 2019; sites: OS, OS+ and Qualcomm code");
}

}  // namespace quell

#include "models/blocks/encoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty_like.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "framework/base/error.h"

namespace quell {
namespace {

// What only a model has that was trained after gamma migration.
constexpr const char* kAttentionShortcut = "attention.output.shortcut.scale";
constexpr const char* kFfnShortcut = "output.shortcut.scale";

}  // namespace

Encoder::Encoder(const Checkpoint& checkpoint, EncoderFamily family, std::unique_ptr<Head> head)
    : config_(checkpoint, family.keys),
      family_(std::move(family)),
      head_(std::move(head)),
      tensors_(load(checkpoint)) {
  Declarations declarations(
      tensors_, [this](Site site) { return add_site(std::move(site)); }, config_.layers);
  declare_embeddings(declarations);
  for (int64_t i = 0; i < config_.layers; ++i) declare_layer(i, declarations);
  first_sites_.push_back(next_site());
  head_->declare(head_sizes(), declarations);
  site_weights_ = declarations.weights();
  declare_segments();
  declare_norm_groups();
}

int64_t Encoder::other_parameters() const {
  int64_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += tensor.numel();
  for (const auto& [id, tensor] : site_weights_) total -= tensor.numel();
  return total;
}

std::string Encoder::in_layer(int64_t layer, const std::string& module) const {
  const auto other = family_.modules.find(module);
  return fmt::format("{}{}.{}.{}", family_.prefix, family_.layers, layer,
                     other == family_.modules.end() ? module : other->second);
}

std::map<std::string, at::Tensor> Encoder::load(const Checkpoint& checkpoint) const {
  const int64_t hidden = config_.hidden, ffn = config_.ffn;
  std::vector<ExpectedTensor> expected;
  const std::string embeddings = family_.prefix + "embeddings.";
  expected.push_back({embeddings + "word_embeddings.weight", {config_.vocabulary_size, hidden}});
  expected.push_back({embeddings + "position_embeddings.weight", {config_.max_positions, hidden}});
  if (config_.token_types > 0) {
    expected.push_back(
        {embeddings + "token_type_embeddings.weight", {config_.token_types, hidden}});
  }
  expect_norm(embeddings + "LayerNorm", hidden, expected);
  for (int64_t i = 0; i < config_.layers; ++i) {
    for (const char* part : {"query", "key", "value"}) {
      expect_linear(in_layer(i, std::string("attention.self.") + part), hidden, hidden, expected);
    }
    expect_linear(in_layer(i, "attention.output.dense"), hidden, hidden, expected);
    expect_norm(in_layer(i, "attention.output.LayerNorm"), hidden, expected);
    expect_linear(in_layer(i, "intermediate.dense"), ffn, hidden, expected);
    expect_linear(in_layer(i, "output.dense"), hidden, ffn, expected);
    expect_norm(in_layer(i, "output.LayerNorm"), hidden, expected);
    for (const char* scale : {kAttentionShortcut, kFfnShortcut}) {
      expected.push_back({in_layer(i, scale), {hidden}, /*optional=*/true});
    }
  }
  head_->expect(head_sizes(), expected);
  return checkpoint.load(expected, {"position_ids"}, family_.prefix);
}

std::map<std::string, at::Tensor> Encoder::parameters() const {
  std::map<std::string, at::Tensor> parameters = tensors_;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = static_cast<int64_t>(i);
    const at::Tensor& attention = layers_[i].attention_shortcut.scale;
    const at::Tensor& ffn = layers_[i].ffn_shortcut.scale;
    if (attention.defined()) parameters[in_layer(layer, kAttentionShortcut)] = attention;
    if (ffn.defined()) parameters[in_layer(layer, kFfnShortcut)] = ffn;
  }
  return parameters;
}

void Encoder::declare_embeddings(Declarations& declarations) {
  const std::string prefix = family_.prefix + "embeddings.";
  const auto table = [&](const std::string& name) {
    return declarations.weight("embeddings." + name, "embedding", -1,
                               prefix + name + "_embeddings.weight");
  };
  word_site_ = table("word");
  position_site_ = table("position");
  if (config_.token_types > 0) {
    token_type_site_ = table("token_type");
    sum_token_type_site_ = declarations.activation(
        "embeddings.sum_token_type", "embedding_sum", -1,
        {"", prefix + "sum_input_token_type_embd_act_quantizer.activation_quantizer"});
  }
  sum_position_site_ =
      declarations.activation("embeddings.sum_position", "embedding_sum", -1,
                              {"", prefix + "sum_pos_embd_act_quantizer.activation_quantizer"});
  embedding_norm_ =
      declarations.norm("embeddings.norm", -1, prefix + "LayerNorm", config_.norm_epsilon);
}

void Encoder::declare_attention(int64_t i, Declarations& declarations, Layer& layer) {
  const std::string self = in_layer(i, "attention.self.");
  const auto published = [&](const std::string& outlier_suppression,
                             const std::string& qualcomm) -> PublishedNames {
    return {
        outlier_suppression.empty() ? "" : self + outlier_suppression + "_post_act_fake_quantize",
        self + qualcomm + ".activation_quantizer"};
  };
  const auto activation = [&](const std::string& name, const std::string& outlier_suppression,
                              const std::string& qualcomm) {
    return declarations.activation("attention." + name, name, i,
                                   published(outlier_suppression, qualcomm));
  };
  const auto matrix = [&](const std::string& name, const PublishedNames& names) {
    return declarations.attention_matrix("attention." + name, name, i, config_.heads, names);
  };
  const auto linear = [&](const std::string& name) {
    return declarations.linear("attention." + name, name, i, in_layer(i, "attention.self." + name));
  };
  layer.query = linear("query");
  layer.query_site = activation("query", "query_permute", "query");
  layer.key = linear("key");
  layer.key_site = activation("key", "key_transpose", "key");
  layer.value = linear("value");
  layer.value_site = activation("value", "value_permute", "value");
  layer.attention.scores = matrix("scores", published("", "attn_scores_act_quantizer"));
  layer.attention.probs = matrix("probs", published("attention_probs", "attn_probs_act_quantizer"));
  layer.attention.context = activation("context", "context_view", "context_act_quantizer");
}

void Encoder::declare_layer(int64_t i, Declarations& declarations) {
  const std::string attention = in_layer(i, "attention.output.");
  const std::string intermediate = in_layer(i, "intermediate.");
  const std::string output = in_layer(i, "output.");
  const auto activation = [&](const std::string& name, const std::string& role,
                              const PublishedNames& published) {
    return declarations.activation(name, role, i, published);
  };
  // The output of a linear before the shortcut is added, and the sum.
  const auto output_of = [&](const std::string& name, const std::string& role,
                             const std::string& module) {
    return activation(
        name, role,
        {module + "output_post_act_fake_quantize", module + "dense.activation_quantizer"});
  };
  const auto residual_of = [&](const std::string& name, const std::string& module) {
    return activation(name, "residual", {"", module + "res_act_quantizer.activation_quantizer"});
  };
  first_sites_.push_back(next_site());
  Layer& layer = layers_.emplace_back();
  declare_attention(i, declarations, layer);
  layer.attention_output = declarations.linear("attention.output", "attention_output", i,
                                               in_layer(i, "attention.output.dense"));
  layer.attention_output_site = output_of("attention.output", "attention_output", attention);
  layer.attention_residual_site = residual_of("attention.residual", attention);
  layer.attention_norm = declarations.norm(
      "attention.norm", i, in_layer(i, "attention.output.LayerNorm"), config_.norm_epsilon);
  // Qualcomm fuses a linear with the non-linearity behind it into one sequential module.
  layer.intermediate = declarations.linear("ffn.intermediate", "intermediate", i,
                                           in_layer(i, "intermediate.dense"), intermediate + "0");
  layer.gelu_site = activation("ffn.gelu", "gelu",
                               {intermediate + "intermediate_act_fn_post_act_fake_quantize",
                                intermediate + "0.activation_quantizer"});
  layer.ffn_output =
      declarations.linear("ffn.output", "ffn_output", i, in_layer(i, "output.dense"));
  layer.ffn_output_site = output_of("ffn.output", "ffn_output", output);
  layer.ffn_residual_site = residual_of("ffn.residual", output);
  layer.ffn_norm =
      declarations.norm("ffn.norm", i, in_layer(i, "output.LayerNorm"), config_.norm_epsilon);
  layer.attention_shortcut.scale = declarations.tensor(in_layer(i, kAttentionShortcut));
  layer.ffn_shortcut.scale = declarations.tensor(in_layer(i, kFfnShortcut));
}

void Encoder::declare_segments() {
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
                         state.outputs = head_->run(state.rows, batch, context);
                       }});
}

void Encoder::declare_norm_groups() {
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
  add(*previous, {&head_->first_linear()}, {});
}

void Encoder::check_segments(const Batch& batch) const {
  if (config_.token_types == 0) return;
  const auto largest = batch.segment_ids.max().item<int64_t>();
  const auto smallest = batch.segment_ids.min().item<int64_t>();
  if (smallest >= 0 && largest < config_.token_types) return;
  throw DataError(
      fmt::format("segment id {} is outside of the model's {} token types; the token ids "
                  "belong to another model",
                  smallest < 0 ? smallest : largest, config_.token_types));
}

at::Tensor Encoder::positions(const Batch& batch) const {
  if (!family_.positions_behind_padding) return batch.position_ids;
  at::Tensor positions = at::empty_like(batch.token_ids);
  const int64_t* tokens = batch.token_ids.const_data_ptr<int64_t>();
  int64_t* position = positions.mutable_data_ptr<int64_t>();
  for (int64_t sequence = 0; sequence < batch.sequences(); ++sequence) {
    int64_t last = config_.pad_id;
    for (int64_t i = batch.offsets[sequence]; i < batch.offsets[sequence + 1]; ++i) {
      position[i] = tokens[i] == config_.pad_id ? config_.pad_id : ++last;
    }
  }
  return positions;
}

at::Tensor Encoder::embed(const Batch& batch, QuantContext& context) const {
  check_segments(batch);
  const auto look_up = [&](SiteId id, const at::Tensor& ids) {
    return at::embedding(context.weight(id, weight(id)), ids);
  };
  at::Tensor rows = look_up(word_site_, batch.token_ids);
  if (config_.token_types > 0) {
    rows = context.activation(sum_token_type_site_,
                              rows.add_(look_up(token_type_site_, batch.segment_ids)));
  }
  rows =
      context.activation(sum_position_site_, rows.add_(look_up(position_site_, positions(batch))));
  return context.dropout(DropoutPlace::kHidden, embedding_norm_.forward(context, rows));
}

// Where the head reads the first token of each sequence: behind the last attention no token reads
// another. The others are left out, but not while somebody looks at them, nor while learning, where
// their number scales gradients.
bool Encoder::needs_all_rows(const Layer& layer, const QuantContext& context) const {
  if (at::GradMode::is_enabled() || !head_->reads_first_tokens()) return true;
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

at::Tensor Encoder::run_layer(const Layer& layer, const at::Tensor& rows, const Batch& batch,
                              QuantContext& context) const {
  const at::Tensor query = context.activation(layer.query_site, layer.query.forward(context, rows));
  const at::Tensor key = context.activation(layer.key_site, layer.key.forward(context, rows));
  const at::Tensor value = context.activation(layer.value_site, layer.value.forward(context, rows));
  at::Tensor attended =
      attention(self_attention_spans(batch), context, layer.attention, config_.heads,
                std::sqrt(static_cast<double>(config_.hidden / config_.heads)), query, key, value);
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

}  // namespace quell

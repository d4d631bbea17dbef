#include "models/blocks/bert_family.h"

#include <cmath>

#include "framework/io/checkpoint.h"

namespace quell {
namespace {

LayerShape layer_shape(const HfEncoderConfig& config) {
  LayerShape shape;
  shape.residual = {.epsilon = config.norm_epsilon, .has_sum_site = true};
  const int64_t head_size = config.hidden / config.heads;
  shape.attention = {
      .hidden = config.hidden,
      .head_size = head_size,
      .shape = {config.heads, config.heads, std::sqrt(static_cast<double>(head_size))},
      .has_scores_site = true};
  shape.ffn = {.hidden = config.hidden, .width = config.ffn, .nonlinearity = config.nonlinearity};
  return shape;
}

LayerNames layer_names(const BertFamily& family) {
  const auto module = [&](const std::string& name) {
    const auto other = family.modules.find(name);
    return family.prefix + family.layers + ".{}." +
           (other == family.modules.end() ? name : other->second);
  };
  LayerNames names;
  names.attention = {module("attention.self.query"), module("attention.self.key"),
                     module("attention.self.value"), module("attention.output.dense")};
  names.attention_norm = module("attention.output.LayerNorm");
  names.attention_shortcut = module("attention.output.shortcut.scale");
  names.ffn = {module("intermediate.dense"), module("output.dense")};
  names.ffn_norm = module("output.LayerNorm");
  names.ffn_shortcut = module("output.shortcut.scale");
  return names;
}

}  // namespace

TransformerShape transformer_shape(const Checkpoint& checkpoint, const BertFamily& family) {
  const HfEncoderConfig config(checkpoint, family.name, family.keys);
  const int64_t first_position = family.positions_behind_padding ? config.pad_id + 1 : 0;
  const std::string embeddings = family.prefix + "embeddings.";
  StackShape stack{.name = "encoder", .embeddings = "embeddings"};
  stack.embedding = {.vocabulary = config.vocabulary_size,
                     .hidden = config.hidden,
                     .features = config.embedding == config.hidden ? 0 : config.embedding,
                     .positions = config.max_positions,
                     .token_types = config.token_types,
                     .has_sum_sites = true,
                     .norm_epsilon = config.norm_epsilon};
  stack.embedding_names = {.word = embeddings + "word_embeddings.weight",
                           .position = embeddings + "position_embeddings.weight",
                           .token_type = embeddings + "token_type_embeddings.weight",
                           .norm = embeddings + "LayerNorm",
                           .projection = family.prefix + "embeddings_project"};
  stack.layers = config.layers;
  stack.layer = layer_shape(config);
  stack.layer_names = layer_names(family);
  TransformerShape shape{.family = family.name, .checkpoint_prefix = family.prefix};
  shape.encoder = std::move(stack);
  shape.head = {config.hidden, config.labels, config.vocabulary_size};
  shape.max_positions = config.max_positions - first_position;
  shape.pad_id = config.pad_id;
  shape.positions_behind_padding = family.positions_behind_padding;
  shape.dropout = config.dropout;
  return shape;
}

}  // namespace quell

// OPT as a language model (Zhang et al. 2022), Hugging Face layout.

#include <cmath>

#include "framework/plugin/registry.h"
#include "models/blocks/language_head.h"
#include "models/blocks/transformer.h"

namespace quell {
namespace {

constexpr int64_t kUsualHidden = 768, kUsualPositions = 2048;
constexpr int64_t kPositionOffset = 2;  // learned positions start at this row of their table
constexpr double kNormEpsilon = 1e-5;   // config.json has no key for it
constexpr const char* kTable = "model.decoder.embed_tokens.weight";

// Width of the table of tokens, where it is not the hidden size (350m); else 0.
int64_t word_features(const ConfigFields& config) {
  const int64_t hidden = config.integer("hidden_size", 1, kUsualHidden);
  const int64_t features = config.integer("word_embed_proj_dim", 1, hidden);
  return features == hidden ? 0 : features;
}

EmbeddingShape embedding_shape(const ConfigFields& config) {
  return {
      .vocabulary = config.integer("vocab_size", 1, 50272),
      .hidden = config.integer("hidden_size", 1, kUsualHidden),
      .word_features = word_features(config),
      .positions = config.integer("max_position_embeddings", 1, kUsualPositions) + kPositionOffset,
      .first_position = kPositionOffset,
      .has_norm = false};
}

StackShape stack_shape(const ConfigFields& config) {
  if (!config.flag("layer_norm_elementwise_affine", true)) {
    config.refuse("layer_norm_elementwise_affine", "true: norms without parameters are unknown");
  }
  const std::string decoder = "model.decoder.";
  const bool pre = config.flag("do_layer_norm_before", true);
  const bool has_bias = config.flag("enable_bias", true);
  StackShape stack{.name = "decoder", .embeddings = "embeddings"};
  stack.embedding = embedding_shape(config);
  stack.embedding_names = {.word = kTable,
                           .position = decoder + "embed_positions.weight",
                           .projection = decoder + "project_in"};
  const int64_t hidden = stack.embedding.hidden,
                heads = config.integer("num_attention_heads", 1, 12);
  config.check_divides("num_attention_heads", heads, hidden);
  const int64_t head_size = hidden / heads;
  stack.layers = config.layers("num_hidden_layers", 12);
  stack.layer.residual = {.place = pre ? NormPlace::kPre : NormPlace::kPost,
                          .epsilon = kNormEpsilon};
  stack.layer.causal = true;
  stack.layer.attention = {.hidden = hidden,
                           .head_size = head_size,
                           .shape = {heads, heads},
                           .query_factor = 1 / std::sqrt(static_cast<double>(head_size)),
                           .has_bias = has_bias,
                           .has_output_bias = has_bias};
  stack.layer.ffn = {.hidden = hidden,
                     .width = config.integer("ffn_dim", 1, 3072),
                     .nonlinearity = config.nonlinearity("activation_function", "relu"),
                     .has_bias = has_bias};
  const std::string layer = decoder + "layers.{}.", attention = layer + "self_attn.";
  stack.layer_names = {.attention = {attention + "q_proj", attention + "k_proj",
                                     attention + "v_proj", attention + "out_proj"},
                       .attention_norm = layer + "self_attn_layer_norm",
                       .attention_shortcut = layer + "self_attn.shortcut.scale",
                       .ffn = {layer + "fc1", layer + "fc2"},
                       .ffn_norm = layer + "final_layer_norm",
                       .ffn_shortcut = layer + "ffn.shortcut.scale"};
  const bool has_final_norm = pre && !config.flag("_remove_final_layer_norm", false);
  if (has_final_norm) stack.final_norm = decoder + "final_layer_norm";
  return stack;
}

TransformerShape transformer_shape(const ConfigFields& config) {
  TransformerShape shape{.checkpoint_prefix = "model."};
  shape.decoder = stack_shape(config);
  const StackShape& stack = *shape.decoder;
  // The paper's code has norms in front of blocks only.
  if (stack.layer.residual.place == NormPlace::kPre) shape.family = "opt";
  shape.head = {stack.embedding.hidden, 0, stack.embedding.vocabulary};
  shape.max_positions = config.integer("max_position_embeddings", 1, kUsualPositions);
  shape.pad_id = config.pad_id();
  constexpr double kUsualDropout = 0.1;
  shape.dropout = {.hidden = config.share("dropout", kUsualDropout),
                   .attention = config.share("attention_dropout", 0)};
  return shape;
}

std::unique_ptr<Head> make_head(const ConfigFields& config) {
  LanguageHeadOptions options{.tied_to = tied_table(config, kTable, /*usual=*/true),
                              .features = word_features(config)};
  if (options.features > 0) options.projection = "model.decoder.project_out";
  return std::make_unique<LanguageHead>(std::move(options));
}

class Opt final : public Transformer {
 public:
  Opt(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(ConfigFields(checkpoint, "opt")),
                    make_head(ConfigFields(checkpoint, "opt"))) {}
};

}  // namespace

void register_model_opt(Plugins& plugins) {
  add_plugin<Opt, NoParams>(plugins.models, "opt",
                            "OPT as a language model: scores of the next token.",
                            "Zhang et al. 2022; sites: OS+ code");
}

}  // namespace quell

// LLaMA 1 to 3 as language models (Touvron et al. 2023, Dubey et al. 2024), Hugging Face layout.

#include <cmath>

#include "framework/plugin/registry.h"
#include "models/blocks/language_head.h"
#include "models/blocks/transformer.h"

namespace quell {
namespace {

constexpr const char* kTable = "model.embed_tokens.weight";

StackShape stack_shape(const ConfigFields& config) {
  const int64_t hidden = config.integer("hidden_size", 1, 4096);
  const int64_t heads = config.integer("num_attention_heads", 1, 32);
  const int64_t key_heads = config.integer("num_key_value_heads", 1, heads);
  config.check_divides("num_key_value_heads", key_heads, heads);
  if (!config.has("head_dim")) config.check_divides("num_attention_heads", heads, hidden);
  const int64_t head_size = config.integer("head_dim", 1, hidden / heads);
  const bool attention_bias = config.flag("attention_bias", false);
  StackShape stack{.name = "decoder", .embeddings = "embeddings"};
  stack.embedding = {
      .vocabulary = config.integer("vocab_size", 1, 32000), .hidden = hidden, .has_norm = false};
  stack.embedding_names = {.word = kTable};
  stack.layers = config.layers("num_hidden_layers", 32);
  stack.layer.residual = {.place = NormPlace::kPre,
                          .norm = NormKind::kRms,
                          .epsilon = config.not_negative("rms_norm_eps", 1e-6)};
  stack.layer.causal = true;
  stack.layer.attention = {.hidden = hidden,
                           .head_size = head_size,
                           .shape = {heads, key_heads, std::sqrt(static_cast<double>(head_size))},
                           .has_bias = attention_bias,
                           .has_output_bias = attention_bias};
  stack.layer.ffn = {.hidden = hidden,
                     .width = config.integer("intermediate_size", 1, 11008),
                     .nonlinearity = config.nonlinearity("hidden_act", "silu"),
                     .gated = true,
                     .has_bias = config.flag("mlp_bias", false)};
  const std::string layer = "model.layers.{}.", attention = layer + "self_attn.";
  stack.layer_names = {
      .attention = {attention + "q_proj", attention + "k_proj", attention + "v_proj",
                    attention + "o_proj"},
      .attention_norm = layer + "input_layernorm",
      .ffn = {layer + "mlp.up_proj", layer + "mlp.down_proj", layer + "mlp.gate_proj"},
      .ffn_norm = layer + "post_attention_layernorm"};
  stack.final_norm = "model.norm";
  return stack;
}

TransformerShape transformer_shape(const ConfigFields& config) {
  TransformerShape shape{.family = "llama", .checkpoint_prefix = "model."};
  shape.decoder = stack_shape(config);
  const StackShape& stack = *shape.decoder;
  shape.head = {stack.embedding.hidden, 0, stack.embedding.vocabulary};
  shape.rotary = rotary_shape(config, stack.layer.attention.head_size);
  shape.max_positions = shape.rotary->max_positions;
  shape.pad_id = config.pad_id();
  shape.dropout = {.attention = config.share("attention_dropout", 0)};
  return shape;
}

std::unique_ptr<Head> make_head(const ConfigFields& config) {
  return std::make_unique<LanguageHead>(
      LanguageHeadOptions{.tied_to = tied_table(config, kTable, /*usual=*/false)});
}

class Llama final : public Transformer {
 public:
  Llama(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(ConfigFields(checkpoint, "llama")),
                    make_head(ConfigFields(checkpoint, "llama"))) {}
};

}  // namespace

void register_model_llama(Plugins& plugins) {
  add_plugin<Llama, NoParams>(plugins.models, "llama",
                              "LLaMA 1 to 3 as a language model: scores of the next token.",
                              "Touvron et al. 2023; sites: OS+ code");
}

}  // namespace quell

// GPT-NeoX and Pythia as language models (Black et al. 2022, Biderman et al. 2023), Hugging Face
// layout.

#include <algorithm>
#include <cmath>

#include "framework/plugin/registry.h"
#include "models/blocks/language_head.h"
#include "models/blocks/transformer.h"

namespace quell {
namespace {

constexpr const char* kTable = "gpt_neox.embed_in.weight";
constexpr double kUsualShare = 0.25;  // of a head's features that turn

StackShape stack_shape(const ConfigFields& config) {
  const int64_t hidden = config.integer("hidden_size", 1, 6144);
  const int64_t heads = config.integer("num_attention_heads", 1, 64);
  config.check_divides("num_attention_heads", heads, hidden);
  const int64_t head_size = hidden / heads;
  const bool attention_bias = config.flag("attention_bias", true);
  StackShape stack{.name = "decoder", .embeddings = "embeddings"};
  stack.embedding = {
      .vocabulary = config.integer("vocab_size", 1, 50432), .hidden = hidden, .has_norm = false};
  stack.embedding_names = {.word = kTable};
  stack.layers = config.layers("num_hidden_layers", 44);
  stack.layer.residual = {.place = NormPlace::kPre,
                          .epsilon = config.not_negative("layer_norm_eps", 1e-5)};
  stack.layer.causal = true;
  stack.layer.parallel = config.flag("use_parallel_residual", true);
  stack.layer.attention = {.hidden = hidden,
                           .head_size = head_size,
                           .shape = {heads, heads, std::sqrt(static_cast<double>(head_size))},
                           .has_bias = attention_bias,
                           .has_output_bias = attention_bias};
  stack.layer.ffn = {.hidden = hidden,
                     .width = config.integer("intermediate_size", 1, 24576),
                     .nonlinearity = config.nonlinearity("hidden_act", "gelu")};
  const std::string layer = "gpt_neox.layers.{}.", attention = layer + "attention.";
  stack.layer_names = {.attention = fused_attention(attention + "query_key_value",
                                                    attention + "dense", hidden, heads),
                       .attention_norm = layer + "input_layernorm",
                       .ffn = {layer + "mlp.dense_h_to_4h", layer + "mlp.dense_4h_to_h"},
                       .ffn_norm = layer + "post_attention_layernorm"};
  stack.final_norm = "gpt_neox.final_layer_norm";
  return stack;
}

TransformerShape transformer_shape(const ConfigFields& config) {
  TransformerShape shape{.family = "gpt_neox", .checkpoint_prefix = "gpt_neox."};
  shape.decoder = stack_shape(config);
  const StackShape& stack = *shape.decoder;
  shape.head = {stack.embedding.hidden, 0, stack.embedding.vocabulary};
  shape.rotary = rotary_shape(config, stack.layer.attention.head_size,
                              {"rotary_emb_base", "rotary_pct", kUsualShare});
  shape.max_positions = shape.rotary->max_positions;
  shape.pad_id = config.pad_id();
  shape.dropout = {.hidden = config.share("hidden_dropout", 0),
                   .attention = config.share("attention_dropout", 0)};
  return shape;
}

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  // Transformers 5 calls the head lm_head, earlier releases and their files embed_out.
  const auto names = checkpoint.names();
  const bool renamed = std::find(names.begin(), names.end(), "lm_head.weight") != names.end();
  return std::make_unique<LanguageHead>(LanguageHeadOptions{
      .module = renamed ? "lm_head" : "embed_out",
      .tied_to = tied_table(ConfigFields(checkpoint, "gpt_neox"), kTable, /*usual=*/false)});
}

class GptNeox final : public Transformer {
 public:
  GptNeox(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(ConfigFields(checkpoint, "gpt_neox")),
                    make_head(checkpoint)) {}
};

}  // namespace

void register_model_gpt_neox(Plugins& plugins) {
  add_plugin<GptNeox, NoParams>(plugins.models, "gpt_neox",
                                "GPT-NeoX and Pythia as language models: scores of the next token.",
                                "Black et al. 2022");
}

}  // namespace quell

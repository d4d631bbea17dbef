// BLOOM as a language model (Le Scao et al. 2022), Hugging Face layout.

#include <bit>
#include <cmath>

#include "framework/plugin/registry.h"
#include "models/blocks/language_head.h"
#include "models/blocks/transformer.h"

namespace quell {
namespace {

constexpr const char* kTable = "transformer.word_embeddings.weight";
// What it was trained with; nothing in the model limits it.
constexpr int64_t kUsualPositions = 2048;

// ALiBi's slope of each head (Press et al. 2022): powers of one base for a power of two of heads,
// and every other power of that base's root for those beyond.
std::vector<float> alibi_slopes(int64_t heads) {
  const auto even = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  constexpr double kExponents = 8;  // those of all heads go up to it
  std::vector<float> slopes;
  for (int64_t i = 0; i < heads; ++i) {
    const double step = kExponents / static_cast<double>(i < even ? even : 2 * even);
    const auto power = static_cast<double>(i < even ? i + 1 : 2 * (i - even) + 1);
    slopes.push_back(static_cast<float>(std::exp2(-step * power)));
  }
  return slopes;
}

StackShape stack_shape(const ConfigFields& config) {
  const int64_t hidden = config.integer(config.one_of({"n_embed", "hidden_size"}), 1, 64);
  const std::string heads_key = config.one_of({"num_attention_heads", "n_head"});
  const int64_t heads = config.integer(heads_key, 1, 8);
  config.check_divides(heads_key, heads, hidden);
  const double epsilon = config.not_negative("layer_norm_epsilon", 1e-5);
  StackShape stack{.name = "decoder", .embeddings = "embeddings"};
  stack.embedding = {.vocabulary = config.integer("vocab_size", 1, 250880),
                     .hidden = hidden,
                     .norm_epsilon = epsilon};
  stack.embedding_names = {.word = kTable, .norm = "transformer.word_embeddings_layernorm"};
  stack.layers = config.layers(config.one_of({"num_hidden_layers", "n_layer"}), 2);
  stack.layer.residual = {.place = NormPlace::kPre, .epsilon = epsilon};
  stack.layer.causal = true;
  stack.layer.attention = {
      .hidden = hidden,
      .head_size = hidden / heads,
      .shape = {heads, heads, std::sqrt(static_cast<double>(hidden / heads)), alibi_slopes(heads)}};
  stack.layer.ffn = {
      .hidden = hidden, .width = 4 * hidden, .nonlinearity = Nonlinearity::kGeluTanh};
  const std::string layer = "transformer.h.{}.", attention = layer + "self_attention.";
  stack.layer_names = {.attention = fused_attention(attention + "query_key_value",
                                                    attention + "dense", hidden, heads),
                       .attention_norm = layer + "input_layernorm",
                       .ffn = {layer + "mlp.dense_h_to_4h", layer + "mlp.dense_4h_to_h"},
                       .ffn_norm = layer + "post_attention_layernorm"};
  stack.final_norm = "transformer.ln_f";
  return stack;
}

TransformerShape transformer_shape(const ConfigFields& config) {
  if (config.flag("apply_residual_connection_post_layernorm", false)) {
    config.refuse("apply_residual_connection_post_layernorm", "false");
  }
  TransformerShape shape{.family = "bloom", .checkpoint_prefix = "transformer."};
  shape.decoder = stack_shape(config);
  const EmbeddingShape& embedding = shape.decoder->embedding;
  shape.head = {embedding.hidden, 0, embedding.vocabulary};
  shape.max_positions = config.integer("seq_length", 1, kUsualPositions);
  shape.pad_id = config.pad_id();
  shape.dropout = {.hidden = config.share("hidden_dropout", 0),
                   .attention = config.share("attention_dropout", 0)};
  return shape;
}

std::unique_ptr<Head> make_head(const ConfigFields& config) {
  return std::make_unique<LanguageHead>(
      LanguageHeadOptions{.tied_to = tied_table(config, kTable, /*usual=*/true)});
}

class Bloom final : public Transformer {
 public:
  Bloom(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(ConfigFields(checkpoint, "bloom")),
                    make_head(ConfigFields(checkpoint, "bloom"))) {}
};

}  // namespace

void register_model_bloom(Plugins& plugins) {
  add_plugin<Bloom, NoParams>(plugins.models, "bloom",
                              "BLOOM as a language model: scores of the next token.",
                              "Le Scao et al. 2022; sites: OS+ code");
}

}  // namespace quell

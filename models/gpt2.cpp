// GPT-2 as a language model (Radford et al. 2019), Hugging Face layout.

#include <cmath>

#include "framework/plugin/registry.h"
#include "models/blocks/language_head.h"
#include "models/blocks/transformer.h"

namespace quell {
namespace {

constexpr const char* kTable = "transformer.wte.weight";

// "Conv1D": the file has the weight of a linear transposed.
StoredLinear transposed(const std::string& module) { return {module, {.transposed = true}}; }

void refuse_variants(const ConfigFields& config) {
  if (config.flag("scale_attn_by_inverse_layer_idx", false)) {
    config.refuse("scale_attn_by_inverse_layer_idx", "false");
  }
  if (config.flag("add_cross_attention", false)) config.refuse("add_cross_attention", "false");
}

StackShape stack_shape(const ConfigFields& config) {
  const int64_t hidden = config.integer(config.one_of({"hidden_size", "n_embd"}), 1, 768);
  const std::string heads_key = config.one_of({"num_attention_heads", "n_head"});
  const int64_t heads = config.integer(heads_key, 1, 12);
  config.check_divides(heads_key, heads, hidden);
  StackShape stack{.name = "decoder", .embeddings = "embeddings"};
  stack.embedding = {.vocabulary = config.integer("vocab_size", 1, 50257),
                     .hidden = hidden,
                     .positions = config.integer(
                         config.one_of({"max_position_embeddings", "n_positions"}), 1, 1024),
                     .has_norm = false};
  stack.embedding_names = {.word = kTable, .position = "transformer.wpe.weight"};
  stack.layers = config.layers(config.one_of({"num_hidden_layers", "n_layer"}), 12);
  stack.layer.residual = {.place = NormPlace::kPre,
                          .epsilon = config.not_negative("layer_norm_epsilon", 1e-5)};
  stack.layer.causal = true;
  const bool scales = config.flag("scale_attn_weights", true);
  const double divisor = scales ? std::sqrt(static_cast<double>(hidden / heads)) : 1;
  stack.layer.attention = {
      .hidden = hidden, .head_size = hidden / heads, .shape = {heads, heads, divisor}};
  stack.layer.ffn = {.hidden = hidden,
                     .width = config.integer("n_inner", 1, 4 * hidden),
                     .nonlinearity = config.nonlinearity("activation_function", "gelu_new")};
  const std::string layer = "transformer.h.{}.";
  stack.layer_names = {
      .attention = fused_attention(layer + "attn.c_attn", transposed(layer + "attn.c_proj"), hidden,
                                   /*groups=*/1, /*transposed=*/true),
      .attention_norm = layer + "ln_1",
      .ffn = {transposed(layer + "mlp.c_fc"), transposed(layer + "mlp.c_proj")},
      .ffn_norm = layer + "ln_2"};
  stack.final_norm = "transformer.ln_f";
  return stack;
}

TransformerShape transformer_shape(const ConfigFields& config) {
  refuse_variants(config);
  TransformerShape shape{.family = "gpt2", .checkpoint_prefix = "transformer."};
  shape.decoder = stack_shape(config);
  const EmbeddingShape& embedding = shape.decoder->embedding;
  shape.head = {embedding.hidden, 0, embedding.vocabulary};
  shape.max_positions = embedding.positions;
  shape.pad_id = config.pad_id();
  constexpr double kUsualDropout = 0.1;
  shape.dropout = {.hidden = config.share("resid_pdrop", kUsualDropout),
                   .attention = config.share("attn_pdrop", kUsualDropout)};
  return shape;
}

std::unique_ptr<Head> make_head(const ConfigFields& config) {
  return std::make_unique<LanguageHead>(
      LanguageHeadOptions{.tied_to = tied_table(config, kTable, /*usual=*/true)});
}

class Gpt2 final : public Transformer {
 public:
  Gpt2(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(ConfigFields(checkpoint, "gpt2")),
                    make_head(ConfigFields(checkpoint, "gpt2"))) {}
};

}  // namespace

void register_model_gpt2(Plugins& plugins) {
  add_plugin<Gpt2, NoParams>(plugins.models, "gpt2",
                             "GPT-2 as a language model: scores of the next token.",
                             "Radford et al. 2019");
}

}  // namespace quell

// BART for sequence classification, question answering and writing text (Lewis et al. 2020),
// Hugging Face layout.

#include <cmath>

#include "framework/plugin/registry.h"
#include "models/blocks/classification_head.h"
#include "models/blocks/hf_config.h"
#include "models/blocks/language_head.h"
#include "models/blocks/span_head.h"
#include "models/blocks/transformer.h"

namespace quell {
namespace {

constexpr double kNormEpsilon = 1e-5;   // config.json has no key for it
constexpr int64_t kPositionOffset = 2;  // learned positions start at this row of their table
constexpr const char* kSharedTable = "model.shared.weight";

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  if (!is_architecture(checkpoint, "ForSequenceClassification")) {
    const bool tied = HfEncoderDecoderConfig(checkpoint).ties_head;
    return std::make_unique<LanguageHead>(
        LanguageHeadOptions{.tied_to = tied ? kSharedTable : "", .bias = "final_logits_bias"});
  }
  return std::make_unique<ClassificationHead>(
      ClassificationHeadOptions{.dense = "classification_head.dense",
                                .output = "classification_head.out_proj",
                                .end_id = HfEncoderDecoderConfig(checkpoint).end_id});
}

AttentionModules attention_modules(const std::string& module) {
  return {module + ".q_proj", module + ".k_proj", module + ".v_proj", module + ".out_proj"};
}

StackShape stack_shape(const HfEncoderDecoderConfig& config, const std::string& name) {
  const bool decodes = name == "decoder";
  const StackSizes& sizes = decodes ? config.decoder : config.encoder;
  const std::string prefix = "model." + name + ".";
  const auto head_size = config.hidden / sizes.heads;
  StackShape stack{.name = name, .embeddings = name + ".embeddings"};
  stack.embedding = {.vocabulary = config.vocabulary_size,
                     .hidden = config.hidden,
                     .positions = config.max_positions + kPositionOffset,
                     .first_position = kPositionOffset,
                     .norm_epsilon = kNormEpsilon};
  if (config.scales_embeddings) {
    stack.embedding.word_factor = std::sqrt(static_cast<double>(config.hidden));
  }
  stack.embedding_names = {.word = prefix + "embed_tokens.weight",
                           .position = prefix + "embed_positions.weight",
                           .norm = prefix + "layernorm_embedding",
                           .word_tied_to = kSharedTable};
  stack.layers = sizes.layers;
  stack.layer.residual.epsilon = kNormEpsilon;
  stack.layer.causal = stack.layer.reads_memory = decodes;
  stack.layer.attention = {.hidden = config.hidden,
                           .head_size = head_size,
                           .shape = {sizes.heads, sizes.heads},
                           .query_factor = 1 / std::sqrt(static_cast<double>(head_size))};
  stack.layer.ffn = {
      .hidden = config.hidden, .width = sizes.ffn, .nonlinearity = config.nonlinearity};
  const std::string layer = prefix + "layers.{}.";
  stack.layer_names = {.attention = attention_modules(layer + "self_attn"),
                       .attention_norm = layer + "self_attn_layer_norm",
                       .attention_shortcut = layer + "self_attn.shortcut.scale",
                       .cross_attention = attention_modules(layer + "encoder_attn"),
                       .cross_attention_norm = layer + "encoder_attn_layer_norm",
                       .cross_attention_shortcut = layer + "encoder_attn.shortcut.scale",
                       .ffn = {layer + "fc1", layer + "fc2"},
                       .ffn_norm = layer + "final_layer_norm",
                       .ffn_shortcut = layer + "ffn.shortcut.scale"};
  return stack;
}

TransformerShape transformer_shape(const Checkpoint& checkpoint) {
  const HfEncoderDecoderConfig config(checkpoint);
  TransformerShape shape{.family = "bart", .checkpoint_prefix = "model."};
  shape.encoder = stack_shape(config, "encoder");
  shape.decoder = stack_shape(config, "decoder");
  shape.shared_table = kSharedTable;
  shape.head = {config.hidden, config.labels, config.vocabulary_size};
  shape.max_positions = config.max_positions;
  shape.pad_id = config.pad_id;
  shape.decoder_start_id = config.decoder_start_id;
  shape.dropout = config.dropout;
  return shape;
}

class Bart final : public Transformer {
 public:
  Bart(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(checkpoint), make_head(checkpoint)) {}
};

}  // namespace

void register_model_bart(Plugins& plugins) {
  add_plugin<Bart, NoParams>(plugins.models, "bart",
                             "BART encoder-decoder for classification, question answering or "
                             "writing text.",
                             "Lewis et al. 2020; sites: OS code");
}

}  // namespace quell

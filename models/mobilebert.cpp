// MobileBERT for sequence classification, regression and question answering (Sun et al. 2020),
// Hugging Face layout: narrow layers between bottlenecks, several feed-forward blocks in each,
// norms without statistics, and tokens that are embedded with their neighbours. The last token of a
// sequence has zeros for a next one; in a padded batch, here with `padding: keep` or `unobserved`,
// it has the row of the padding token, as Hugging Face computes it.

#include <fmt/format.h>
#include <cmath>

#include "framework/plugin/registry.h"
#include "models/blocks/bert_family.h"
#include "models/blocks/config_fields.h"
#include "models/blocks/pooler_head.h"
#include "models/blocks/span_head.h"

namespace quell {
namespace {

const std::string kPrefix = "mobilebert.";
const std::string kLayer = kPrefix + "encoder.layer.{}.";
constexpr double kFixedEpsilon = 1e-5;  // of the two norms to which the library gives none

// What config.json says of layers beside the keys that all encoders have.
struct Narrowing {
  bool bottleneck = true;
  BottleneckAttention attention = BottleneckAttention::kOwnRows;
  bool shared_attention = true;  // a linear for queries and keys is stored
  int64_t width = 0;             // of the layers
  int64_t ffns = 1;
  NormKind norm = NormKind::kNone;
};

BottleneckAttention attention_of(const ConfigFields& fields, bool shared) {
  if (fields.flag("use_bottleneck_attention", false)) return BottleneckAttention::kNarrowRows;
  return shared ? BottleneckAttention::kOwnRows : BottleneckAttention::kWideRows;
}

Narrowing read_narrowing(const ConfigFields& fields, const HfEncoderConfig& config) {
  constexpr int64_t kUsualWidth = 128, kUsualFfns = 4;
  Narrowing narrowing{.bottleneck = fields.flag("use_bottleneck", true),
                      .shared_attention = fields.flag("key_query_shared_bottleneck", true)};
  narrowing.attention = attention_of(fields, narrowing.shared_attention);
  const int64_t inside = fields.integer("intra_bottleneck_size", 1, kUsualWidth);
  const int64_t width = narrowing.width = narrowing.bottleneck ? inside : config.hidden;
  narrowing.ffns = fields.integer("num_feedforward_networks", 1, kUsualFfns);
  fields.check_divides("num_attention_heads", config.heads, width);
  if (fields.integer("true_hidden_size", 1, width) != width) {
    fields.refuse("true_hidden_size", fmt::format("{}, the width of the layers", width));
  }
  if (narrowing.attention == BottleneckAttention::kWideRows && width != config.hidden) {
    fields.refuse("intra_bottleneck_size",
                  fmt::format("{}, which is hidden_size, because nothing narrows what queries and "
                              "keys read",
                              config.hidden));
  }
  const std::string norms = fields.text("normalization_type", "no_norm");
  if (norms != "no_norm" && norms != "layer_norm") {
    fields.refuse("normalization_type", "no_norm or layer_norm");
  }
  narrowing.norm = norms == "no_norm" ? NormKind::kNone : NormKind::kLayer;
  return narrowing;
}

FeedForwardNames ffn_names(const std::string& module) {
  return {{module + "intermediate.dense", module + "output.dense"},
          module + "output.LayerNorm",
          module + "output.shortcut.scale"};
}

void shape_layer(const HfEncoderConfig& config, const Narrowing& narrowing, StackShape& stack) {
  LayerShape& layer = stack.layer;
  const int64_t width = narrowing.width, head_size = width / config.heads;
  layer.attention.hidden = layer.ffn.hidden = width;
  layer.attention.head_size = head_size;
  layer.attention.shape.divisor = std::sqrt(static_cast<double>(head_size));
  layer.residual.norm = narrowing.norm;
  layer.residual.drops_branch = !narrowing.bottleneck;
  ResidualShape earlier = layer.residual, last = layer.residual;
  earlier.drops_branch = false;
  last.epsilon = kFixedEpsilon;
  layer.ffn_residuals.assign(narrowing.ffns - 1, earlier);
  layer.ffn_residuals.push_back(last);
  for (int64_t i = 0; i + 1 < narrowing.ffns; ++i) {
    stack.layer_names.earlier_ffns.push_back(ffn_names(fmt::format("{}ffn.{}.", kLayer, i)));
  }
  if (!narrowing.bottleneck) return;
  layer.attention.value_inputs =
      narrowing.attention == BottleneckAttention::kNarrowRows ? width : config.hidden;
  layer.bottleneck = {.wide = config.hidden,
                      .narrow = width,
                      .attention = narrowing.attention,
                      .stores_unread_linear = narrowing.shared_attention,
                      .residual = layer.residual};
  layer.bottleneck->residual.drops_branch = true;
  const std::string own = kLayer + "bottleneck.", output = kLayer + "output.bottleneck.";
  stack.layer_names.bottleneck = {.input = own + "input.dense",
                                  .input_norm = own + "input.LayerNorm",
                                  .attention = own + "attention.dense",
                                  .attention_norm = own + "attention.LayerNorm",
                                  .output = output + "dense",
                                  .output_norm = output + "LayerNorm",
                                  .output_shortcut = output + "shortcut.scale"};
}

void shape_embeddings(const HfEncoderConfig& config, const Narrowing& narrowing, bool trigrams,
                      StackShape& stack) {
  EmbeddingShape& embedding = stack.embedding;
  const bool projected = trigrams || config.embedding != config.hidden;
  embedding.features = 0;  // tokens alone are narrower
  embedding.word_features = projected ? config.embedding : 0;
  embedding.stores_unread_projection = !projected;
  embedding.has_projection_bias = true;
  embedding.trigrams = trigrams;
  embedding.positions_first = true;
  embedding.norm = narrowing.norm;
  embedding.norm_epsilon = kFixedEpsilon;
  stack.embedding_names.projection = kPrefix + "embeddings.embedding_transformation";
}

TransformerShape shape_of(const Checkpoint& checkpoint) {
  const BertFamily family{.name = "mobilebert", .prefix = kPrefix};
  const HfEncoderConfig config(checkpoint, family.name, family.keys);
  const ConfigFields fields(checkpoint, family.name);
  const Narrowing narrowing = read_narrowing(fields, config);
  TransformerShape shape = transformer_shape(checkpoint, family);
  shape_layer(config, narrowing, *shape.encoder);
  shape_embeddings(config, narrowing, fields.flag("trigram_input", true), *shape.encoder);
  return shape;
}

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  const bool activated = ConfigFields(checkpoint, "mobilebert").flag("classifier_activation", true);
  return std::make_unique<PoolerHead>(
      activated ? std::optional<std::string>(kPrefix + "pooler.dense") : std::nullopt);
}

class MobileBert final : public Transformer {
 public:
  MobileBert(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(shape_of(checkpoint), make_head(checkpoint)) {}
};

}  // namespace

void register_model_mobilebert(Plugins& plugins) {
  add_plugin<MobileBert, NoParams>(
      plugins.models, "mobilebert",
      "MobileBERT encoder for classification, regression or question answering.",
      "Sun et al. 2020; sites: Qualcomm code");
}

}  // namespace quell

// DistilBERT for sequence classification, regression and question answering (Sanh et al. 2019),
// Hugging Face layout: BERT's layers under other names, without token types.

#include "framework/plugin/registry.h"
#include "models/blocks/bert_family.h"
#include "models/blocks/classification_head.h"
#include "models/blocks/span_head.h"

namespace quell {
namespace {

BertFamily family(const Checkpoint& checkpoint) {
  BertFamily family{.name = "distilbert", .prefix = "distilbert."};
  family.layers = "transformer.layer";
  family.modules = {{"attention.self.query", "attention.q_lin"},
                    {"attention.self.key", "attention.k_lin"},
                    {"attention.self.value", "attention.v_lin"},
                    {"attention.output.dense", "attention.out_lin"},
                    {"attention.output.LayerNorm", "sa_layer_norm"},
                    {"intermediate.dense", "ffn.lin1"},
                    {"output.dense", "ffn.lin2"},
                    {"output.LayerNorm", "output_layer_norm"}};
  family.keys = {
      .hidden = "dim",
      .layers = "n_layers",
      .heads = "n_heads",
      .ffn = "hidden_dim",
      .nonlinearity = "activation",
      .dropout = "dropout",
      .attention_dropout = "attention_dropout",
      .head_dropout = answers_questions(checkpoint) ? "qa_dropout" : "seq_classif_dropout",
      .token_types = false};
  return family;
}

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  return std::make_unique<ClassificationHead>(
      ClassificationHeadOptions{.dense = "pre_classifier",
                                .output = "classifier",
                                .nonlinearity = Nonlinearity::kRelu,
                                .drops_input = false});
}

class DistilBert final : public Transformer {
 public:
  DistilBert(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(checkpoint, family(checkpoint)), make_head(checkpoint)) {}
};

}  // namespace

void register_model_distilbert(Plugins& plugins) {
  add_plugin<DistilBert, NoParams>(
      plugins.models, "distilbert",
      "DistilBERT encoder for classification, regression or question answering.",
      "Sanh et al. 2019");
}

}  // namespace quell

// RoBERTa for sequence classification, regression and question answering
// (Liu et al. 2019), Hugging Face layout.
// DistilRoBERTa is one with fewer layers.

#include "framework/plugin/registry.h"
#include "models/blocks/bert_family.h"
#include "models/blocks/classification_head.h"
#include "models/blocks/span_head.h"

namespace quell {
namespace {

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  return std::make_unique<ClassificationHead>(ClassificationHeadOptions());
}

class Roberta final : public Transformer {
 public:
  Roberta(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(checkpoint, {.name = "roberta",
                                                   .prefix = "roberta.",
                                                   .positions_behind_padding = true}),
                    make_head(checkpoint)) {}
};

}  // namespace

void register_model_roberta(Plugins& plugins) {
  add_plugin<Roberta, NoParams>(
      plugins.models, "roberta",
      "RoBERTa encoder for classification, regression or question answering.",
      "Liu et al. 2019; sites: OS and Qualcomm code");
}

}  // namespace quell

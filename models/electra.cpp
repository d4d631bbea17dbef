// ELECTRA's discriminator for sequence classification, regression and question answering (Clark et
// al. 2020), Hugging Face layout: BERT with another head. Where embeddings are narrower than the
// layers, as in the small model, a linear follows them.

#include "framework/plugin/registry.h"
#include "models/blocks/bert_family.h"
#include "models/blocks/classification_head.h"
#include "models/blocks/span_head.h"

namespace quell {
namespace {

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  return std::make_unique<ClassificationHead>(
      ClassificationHeadOptions{.nonlinearity = Nonlinearity::kGelu});
}

class Electra final : public Transformer {
 public:
  Electra(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(checkpoint, {.name = "electra", .prefix = "electra."}),
                    make_head(checkpoint)) {}
};

}  // namespace

void register_model_electra(Plugins& plugins) {
  add_plugin<Electra, NoParams>(
      plugins.models, "electra",
      "ELECTRA discriminator for classification, regression or question answering.",
      "Clark et al. 2020");
}

}  // namespace quell

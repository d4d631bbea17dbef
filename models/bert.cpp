// BERT for sequence classification, regression and question answering
// (Devlin et al. 2019), Hugging Face layout.

#include "framework/plugin/registry.h"
#include "models/blocks/bert_family.h"
#include "models/blocks/pooler_head.h"
#include "models/blocks/span_head.h"

namespace quell {
namespace {

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  return std::make_unique<PoolerHead>("bert.pooler.dense");
}

class Bert final : public Transformer {
 public:
  Bert(const NoParams&, const Checkpoint& checkpoint)
      : Transformer(transformer_shape(checkpoint, {.name = "bert", .prefix = "bert."}),
                    make_head(checkpoint)) {}
};

}  // namespace

void register_model_bert(Plugins& plugins) {
  add_plugin<Bert, NoParams>(plugins.models, "bert",
                             "BERT encoder for classification, regression or question answering.",
                             "Devlin et al. 2019; sites: OS, OS+ and Qualcomm code");
}

}  // namespace quell

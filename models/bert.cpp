// BERT for sequence classification, regression and question answering
// (Devlin et al. 2019), Hugging Face layout.

#include <ATen/ops/zeros.h>

#include "framework/plugin/registry.h"
#include "models/blocks/bert_family.h"
#include "models/blocks/projection.h"
#include "models/blocks/span_head.h"

namespace quell {
namespace {

// Pooler and classifier.
class BertClassifier final : public Head {
 public:
  void declare(const HeadSizes& sizes, ModelBuilder& builder) override {
    labels_ = sizes.labels;
    input_site_ = builder.activation("pooler.input", "head_input");
    pooler_.set_nonlinearity(Nonlinearity::kTanh);
    builder.linear(pooler_.linear, "pooler.dense", "head", "bert.pooler.dense", sizes.hidden,
                   sizes.hidden);
    pooler_.site = builder.activation("pooler.output", "head_hidden");
    builder.linear(classifier_.linear, "classifier", "head", "classifier", sizes.labels,
                   sizes.hidden);
    classifier_.site = builder.activation("classifier.logits", "logits");
  }

  Linear& first_linear() override { return pooler_.linear; }
  bool reads_first_tokens() const override { return true; }

  Outputs run(const Rows& rows, const ModelInput& input, const Pass& pass) const override {
    Rows cls = pass.activation(input_site_, first_rows(rows, input));
    cls = pass.dropout(DropoutPlace::kHead, pooler_.forward(pass, cls));
    return {{"logits", classifier_.forward(pass, cls).values}};
  }

  Outputs zero_outputs(const Batch& batch) const override {
    return {{"logits", at::zeros({batch.sequences(), labels_})}};
  }

 private:
  int64_t labels_ = 0;
  SiteId input_site_ = kNoSite;
  Projection pooler_, classifier_;
};

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  return std::make_unique<BertClassifier>();
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

// BERT for sequence classification, regression and question answering
// (Devlin et al. 2019), Hugging Face layout.

#include <ATen/ops/zeros.h>

#include "framework/plugin/registry.h"
#include "models/blocks/encoder.h"
#include "models/blocks/span_head.h"

namespace quell {
namespace {

// Pooler and classifier.
class BertClassifier final : public Head {
 public:
  void expect(const HeadSizes& sizes, std::vector<ExpectedTensor>& expected) const override {
    expect_linear("bert.pooler.dense", sizes.hidden, sizes.hidden, expected);
    expect_linear("classifier", sizes.labels, sizes.hidden, expected);
  }

  void declare(const HeadSizes& sizes, Declarations& declarations) override {
    labels_ = sizes.labels;
    input_site_ = declarations.activation("pooler.input", "head_input", -1,
                                          {"bert.pooler.getitem_post_act_fake_quantize", ""});
    pooler_ = declarations.linear("pooler.dense", "head", -1, "bert.pooler.dense",
                                  "bert.pooler.dense_act.0");
    hidden_site_ = declarations.activation(
        "pooler.output", "head_hidden", -1,
        {"dropout_post_act_fake_quantize", "bert.pooler.dense_act.0.activation_quantizer"});
    classifier_ = declarations.linear("classifier", "head", -1, "classifier");
    logits_site_ = declarations.activation("classifier.logits", "logits", -1,
                                           {"", "classifier.activation_quantizer"});
  }

  const Linear& first_linear() const override { return pooler_; }
  bool reads_first_tokens() const override { return true; }

  Outputs run(const at::Tensor& rows, const Batch& batch, QuantContext& context) const override {
    at::Tensor cls = context.activation(input_site_, first_rows(rows, batch));
    cls = apply(Nonlinearity::kTanh, pooler_.forward(context, cls));
    cls = context.activation(hidden_site_, std::move(cls));
    cls = context.dropout(DropoutPlace::kHead, std::move(cls));
    return {{"logits", context.activation(logits_site_, classifier_.forward(context, cls))}};
  }

  Outputs zero_outputs(const Batch& batch) const override {
    return {{"logits", at::zeros({batch.sequences(), labels_})}};
  }

 private:
  int64_t labels_ = 0;
  SiteId input_site_, hidden_site_, logits_site_;
  Linear pooler_, classifier_;
};

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  return std::make_unique<BertClassifier>();
}

class Bert final : public Encoder {
 public:
  Bert(const NoParams&, const Checkpoint& checkpoint)
      : Encoder(checkpoint, {.prefix = "bert."}, make_head(checkpoint)) {}
};

}  // namespace

void register_model_bert(Plugins& plugins) {
  add_plugin<Bert, NoParams>(plugins.models, "bert",
                             "BERT encoder for classification, regression or question answering.",
                             "Devlin et al. 2019; sites: OS, OS+ and Qualcomm code");
}

}  // namespace quell

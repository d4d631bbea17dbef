// RoBERTa for sequence classification, regression and question answering
// (Liu et al. 2019), Hugging Face layout.
// DistilRoBERTa is one with fewer layers.

#include <ATen/ops/zeros.h>

#include "framework/plugin/registry.h"
#include "models/blocks/encoder.h"
#include "models/blocks/span_head.h"

namespace quell {
namespace {

// Two linears with tanh between them. Outlier Suppression quantizes behind tanh, Qualcomm before
// it.
class RobertaClassifier final : public EncoderHead {
 public:
  void expect(const HfEncoderConfig& config, std::vector<ExpectedTensor>& expected) const override {
    expect_linear("classifier.dense", config.hidden, config.hidden, expected);
    expect_linear("classifier.out_proj", config.labels, config.hidden, expected);
  }

  void declare(const HfEncoderConfig& config, Declarations& declarations) override {
    labels_ = config.labels;
    input_site_ = declarations.activation("pooler.input", "head_input", -1,
                                          {"classifier.getitem_post_act_fake_quantize", ""});
    dense_ = declarations.linear("pooler.dense", "head", -1, "classifier.dense");
    dense_site_ = declarations.activation("pooler.dense", "head_dense", -1,
                                          {"", "classifier.dense.activation_quantizer"});
    hidden_site_ =
        declarations.activation("pooler.output", "head_hidden", -1,
                                {"classifier.dropout_post_act_fake_quantize", ""}, "pooler.tanh");
    output_ = declarations.linear("classifier", "head", -1, "classifier.out_proj");
    logits_site_ = declarations.activation("classifier.logits", "logits", -1,
                                           {"", "classifier.out_proj.activation_quantizer"});
  }

  const Linear& first_linear() const override { return dense_; }
  bool reads_first_tokens() const override { return true; }

  Outputs run(const at::Tensor& rows, const Batch& batch, QuantContext& context) const override {
    at::Tensor cls = context.activation(input_site_, first_rows(rows, batch));
    cls = context.dropout(DropoutPlace::kHead, std::move(cls));
    cls = context.activation(dense_site_, dense_.forward(context, cls));
    cls = context.activation(hidden_site_, apply(Nonlinearity::kTanh, std::move(cls)));
    cls = context.dropout(DropoutPlace::kHead, std::move(cls));
    return {{"logits", context.activation(logits_site_, output_.forward(context, cls))}};
  }

  Outputs zero_outputs(const Batch& batch) const override {
    return {{"logits", at::zeros({batch.sequences(), labels_})}};
  }

 private:
  int64_t labels_ = 0;
  SiteId input_site_, dense_site_, hidden_site_, logits_site_;
  Linear dense_, output_;
};

std::unique_ptr<EncoderHead> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  return std::make_unique<RobertaClassifier>();
}

class Roberta final : public Encoder {
 public:
  Roberta(const NoParams&, const Checkpoint& checkpoint)
      : Encoder(checkpoint, {.prefix = "roberta.", .positions_behind_padding = true},
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

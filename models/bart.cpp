// BART for sequence classification, question answering and writing text (Lewis et al. 2020),
// Hugging Face layout.

#include <ATen/ops/zeros.h>

#include "framework/plugin/registry.h"
#include "models/blocks/classification_head.h"
#include "models/blocks/encoder_decoder.h"
#include "models/blocks/span_head.h"

namespace quell {
namespace {

// Scores of the next token. The table is the one of the embeddings, quantized on its own.
class LanguageHead final : public Head {
 public:
  void expect(const HeadSizes& sizes, std::vector<ExpectedTensor>& expected) const override {
    ExpectedTensor table{"lm_head.weight", {sizes.vocabulary, sizes.hidden}};
    table.tied_to = "model.shared.weight";
    expected.push_back(std::move(table));
    expected.push_back({"final_logits_bias", {1, sizes.vocabulary}, /*optional=*/true});
  }

  void declare(const HeadSizes& sizes, Declarations& declarations) override {
    vocabulary_ = sizes.vocabulary;
    table_ = declarations.linear("lm_head", "head", -1, "lm_head");
    const at::Tensor bias = declarations.tensor("final_logits_bias");
    if (bias.defined()) table_.bias = bias.view({sizes.vocabulary});
    logits_site_ = declarations.activation("lm_head.logits", "logits", -1, {});
  }

  const Linear& first_linear() const override { return table_; }
  bool writes_text() const override { return true; }

  Outputs run(const at::Tensor& rows, const Batch&, QuantContext& context) const override {
    return {{"logits", context.activation(logits_site_, table_.forward(context, rows))}};
  }

  Outputs zero_outputs(const Batch& batch) const override {
    return {{"logits", at::zeros({batch.target_tokens(), vocabulary_})}};
  }

 private:
  int64_t vocabulary_ = 0;
  SiteId logits_site_ = kNoSite;
  Linear table_;
};

std::unique_ptr<Head> make_head(const Checkpoint& checkpoint) {
  if (answers_questions(checkpoint)) return std::make_unique<SpanHead>();
  if (!is_architecture(checkpoint, "ForSequenceClassification")) {
    return std::make_unique<LanguageHead>();
  }
  return std::make_unique<ClassificationHead>(
      ClassificationHeadOptions{.dense = "classification_head.dense",
                                .output = "classification_head.out_proj",
                                .published = "classification_head",
                                .end_id = HfEncoderDecoderConfig(checkpoint).end_id});
}

class Bart final : public EncoderDecoder {
 public:
  Bart(const NoParams&, const Checkpoint& checkpoint)
      : EncoderDecoder(checkpoint, make_head(checkpoint)) {}
};

}  // namespace

void register_model_bart(Plugins& plugins) {
  add_plugin<Bart, NoParams>(plugins.models, "bart",
                             "BART encoder-decoder for classification, question answering or "
                             "writing text.",
                             "Lewis et al. 2020; sites: OS code");
}

}  // namespace quell

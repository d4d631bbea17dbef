// The head that RoBERTa, ELECTRA and BART classify sequences with: two linears with a non-linearity
// between them.
#pragma once

#include <string>

#include "models/blocks/head.h"

namespace quell {

struct ClassificationHeadOptions {
  std::string dense = "classifier.dense";
  std::string output = "classifier.out_proj";
  std::string published = "classifier";  // prefix of Outlier Suppression's quantizers
  Nonlinearity nonlinearity = Nonlinearity::kTanh;
  bool drops_input = true;  // whether its input sees dropout, too
  // It reads the first token of each sequence, or, where one is given, the last token `end_id`; a
  // sequence without one is a DataError.
  int64_t end_id = -1;
};

// Outlier Suppression quantizes behind tanh, Qualcomm (RoBERTa only) before it.
class ClassificationHead final : public Head {
 public:
  explicit ClassificationHead(ClassificationHeadOptions options) : options_(std::move(options)) {}

  void expect(const HeadSizes& sizes, std::vector<ExpectedTensor>& expected) const override;
  void declare(const HeadSizes& sizes, Declarations& declarations) override;
  const Linear& first_linear() const override { return dense_; }
  bool reads_first_tokens() const override { return options_.end_id < 0; }
  Outputs run(const at::Tensor& rows, const Batch& batch, QuantContext& context) const override;
  Outputs zero_outputs(const Batch& batch) const override;

 private:
  at::Tensor read(const at::Tensor& rows, const Batch& batch) const;

  ClassificationHeadOptions options_;
  int64_t labels_ = 0;
  SiteId input_site_, dense_site_, hidden_site_, logits_site_;
  Linear dense_, output_;
};

}  // namespace quell

// The head that RoBERTa and BART classify sequences with: two linears with tanh between them.
#pragma once

#include <string>

#include "models/blocks/head.h"

namespace quell {

// Outlier Suppression quantizes behind tanh, Qualcomm (RoBERTa only) before it.
class ClassificationHead final : public Head {
 public:
  // `module` is the prefix of its tensors: "classifier". It reads the first token of each sequence,
  // or, where one is given, the last token `end_id`; a sequence without one is a DataError.
  explicit ClassificationHead(std::string module, int64_t end_id = -1)
      : module_(std::move(module)), end_id_(end_id) {}

  void expect(const HeadSizes& sizes, std::vector<ExpectedTensor>& expected) const override;
  void declare(const HeadSizes& sizes, Declarations& declarations) override;
  const Linear& first_linear() const override { return dense_; }
  bool reads_first_tokens() const override { return end_id_ < 0; }
  Outputs run(const at::Tensor& rows, const Batch& batch, QuantContext& context) const override;
  Outputs zero_outputs(const Batch& batch) const override;

 private:
  at::Tensor read(const at::Tensor& rows, const Batch& batch) const;

  std::string module_;
  int64_t end_id_;
  int64_t labels_ = 0;
  SiteId input_site_, dense_site_, hidden_site_, logits_site_;
  Linear dense_, output_;
};

}  // namespace quell

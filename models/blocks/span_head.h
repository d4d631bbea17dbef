// Extractive question answering: a score for every token to begin, and to end, the answer.
#pragma once

#include "models/blocks/head.h"

namespace quell {

// Outputs "start_logits" and "end_logits", [tokens] each.
class SpanHead final : public Head {
 public:
  void expect(const HeadSizes& sizes, std::vector<ExpectedTensor>& expected) const override;
  void declare(const HeadSizes& sizes, Declarations& declarations) override;
  const Linear& first_linear() const override { return spans_; }
  Outputs run(const at::Tensor& rows, const Batch& batch, QuantContext& context) const override;
  Outputs zero_outputs(const Batch& batch) const override;

 private:
  SiteId logits_site_ = kNoSite;
  Linear spans_;
};

// Whether config.json names a model for question answering among its architectures.
bool answers_questions(const Checkpoint& checkpoint);

}  // namespace quell

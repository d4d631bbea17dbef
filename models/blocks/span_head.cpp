#include "models/blocks/span_head.h"

#include <ATen/ops/zeros.h>

namespace quell {
namespace {

constexpr int64_t kStartAndEnd = 2;

}  // namespace

void SpanHead::expect(const HeadSizes& sizes, std::vector<ExpectedTensor>& expected) const {
  expect_linear("qa_outputs", kStartAndEnd, sizes.hidden, expected);
}

void SpanHead::declare(const HeadSizes&, Declarations& declarations) {
  spans_ = declarations.linear("qa_outputs", "head", -1, "qa_outputs");
  logits_site_ = declarations.activation("qa_outputs.logits", "logits", -1,
                                         {"", "qa_outputs.activation_quantizer"});
}

Outputs SpanHead::run(const at::Tensor& rows, const Batch&, QuantContext& context) const {
  const at::Tensor logits = context.activation(logits_site_, spans_.forward(context, rows));
  return {{"start_logits", logits.select(1, 0).contiguous()},
          {"end_logits", logits.select(1, 1).contiguous()}};
}

Outputs SpanHead::zero_outputs(const Batch& batch) const {
  return {{"start_logits", at::zeros({batch.tokens()})},
          {"end_logits", at::zeros({batch.tokens()})}};
}

bool answers_questions(const Checkpoint& checkpoint) {
  return is_architecture(checkpoint, "ForQuestionAnswering");
}

}  // namespace quell

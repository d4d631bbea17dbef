#include "models/blocks/span_head.h"

#include <ATen/ops/zeros.h>
#include <algorithm>
#include <nlohmann/json.hpp>

namespace quell {
namespace {

constexpr int64_t kStartAndEnd = 2;

}  // namespace

void SpanHead::expect(const HfEncoderConfig& config, std::vector<ExpectedTensor>& expected) const {
  expect_linear("qa_outputs", kStartAndEnd, config.hidden, expected);
}

void SpanHead::declare(const HfEncoderConfig&, Declarations& declarations) {
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
  const auto found = checkpoint.config().find("architectures");
  if (found == checkpoint.config().end() || !found->is_array()) return false;
  return std::any_of(found->begin(), found->end(), [](const nlohmann::json& name) {
    return name.is_string() && name.get_ref<const std::string&>().ends_with("ForQuestionAnswering");
  });
}

}  // namespace quell

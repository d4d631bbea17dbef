#include "models/blocks/span_head.h"

#include <ATen/ops/zeros.h>

#include "models/blocks/hf_config.h"

namespace quell {
namespace {

constexpr int64_t kStartAndEnd = 2;

}  // namespace

void SpanHead::declare(const HeadSizes& sizes, ModelBuilder& builder) {
  builder.linear(spans_.linear, "qa_outputs", "head", "qa_outputs", kStartAndEnd, sizes.hidden);
  spans_.site = builder.activation("qa_outputs.logits", "logits");
}

Outputs SpanHead::run(const Rows& rows, const ModelInput&, const Pass& pass) const {
  const at::Tensor logits = spans_.forward(pass, rows).values;
  return {{"start_logits", logits.select(1, 0).contiguous()},
          {"end_logits", logits.select(1, 1).contiguous()}};
}

Outputs SpanHead::zero_outputs(const Batch& batch) const {
  return {{"start_logits", at::zeros({batch.tokens()})},
          {"end_logits", at::zeros({batch.tokens()})}};
}

void SpanHead::write(GraphWriter& writer, const GraphWriter::Value& rows) const {
  const GraphWriter::Value logits = spans_.write(writer, rows);
  const auto part = [&](int64_t index) {
    return writer.operation("Gather", {logits, writer.integer(index)}, {{"axis", int64_t{2}}});
  };
  writer.output("start_logits", part(0), {"sequences", "tokens"});
  writer.output("end_logits", part(1), {"sequences", "tokens"});
}

bool answers_questions(const Checkpoint& checkpoint) {
  return is_architecture(checkpoint, "ForQuestionAnswering");
}

}  // namespace quell

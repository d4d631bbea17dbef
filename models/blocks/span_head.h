// Extractive question answering: a score for every token to begin, and to end, the answer.
#pragma once

#include "models/blocks/head.h"
#include "models/blocks/projection.h"

namespace quell {

// Outputs "start_logits" and "end_logits", [tokens] each.
class SpanHead final : public Head {
 public:
  void declare(const HeadSizes& sizes, ModelBuilder& builder) override;
  Linear& first_linear() override { return spans_.linear; }
  RowsOf output_rows() const override { return RowsOf::kTargets; }
  Outputs run(const Rows& rows, const ModelInput& input, const Pass& pass) const override;
  Outputs zero_outputs(const Batch& batch) const override;
  void write(GraphWriter& writer, const GraphWriter::Value& rows) const override;

 private:
  Projection spans_;
};

// Whether config.json names a model for question answering among its architectures.
bool answers_questions(const Checkpoint& checkpoint);

}  // namespace quell

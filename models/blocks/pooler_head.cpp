#include "models/blocks/pooler_head.h"

#include <ATen/ops/zeros.h>

namespace quell {

void PoolerHead::declare(const HeadSizes& sizes, ModelBuilder& builder) {
  labels_ = sizes.labels;
  input_site_ = builder.activation("pooler.input", "head_input");
  if (pooler_module_) {
    pooler_.nonlinearity = Nonlinearity::kTanh;
    builder.linear(pooler_.linear, "pooler.dense", "head", *pooler_module_, sizes.hidden,
                   sizes.hidden);
    pooler_.site = builder.activation("pooler.output", "head_hidden");
  }
  builder.linear(classifier_.linear, "classifier", "head", "classifier", sizes.labels,
                 sizes.hidden);
  classifier_.site = builder.activation("classifier.logits", "logits");
}

Linear& PoolerHead::first_linear() { return pooler_module_ ? pooler_.linear : classifier_.linear; }

Outputs PoolerHead::run(const Rows& rows, const ModelInput& input, const Pass& pass) const {
  Rows cls = pass.activation(input_site_, first_rows(rows, input));
  if (pooler_module_) cls = pooler_.forward(pass, cls);
  cls = pass.dropout(DropoutPlace::kHead, std::move(cls));
  return {{"logits", classifier_.forward(pass, cls).values}};
}

Outputs PoolerHead::zero_outputs(const Batch& batch) const {
  return {{"logits", at::zeros({batch.sequences(), labels_})}};
}

void PoolerHead::write(GraphWriter& writer, const GraphWriter::Value& rows) const {
  GraphWriter::Value token = writer.activation(input_site_, write_first_rows(writer, rows));
  if (pooler_module_) token = pooler_.write(writer, token);
  writer.output("logits", classifier_.write(writer, token), {"sequences", std::to_string(labels_)});
}

}  // namespace quell

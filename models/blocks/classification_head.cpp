#include "models/blocks/classification_head.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "framework/base/error.h"
#include "models/blocks/residual.h"

namespace quell {

void ClassificationHead::declare(const HeadSizes& sizes, ModelBuilder& builder) {
  labels_ = sizes.labels;
  input_site_ = builder.activation("pooler.input", "head_input");
  builder.linear(dense_.linear, "pooler.dense", "head", options_.dense, sizes.hidden, sizes.hidden);
  dense_.site = builder.activation("pooler.dense", "head_dense");
  hidden_site_ = builder.activation("pooler.output", "head_hidden", "pooler.tanh");
  builder.linear(output_.linear, "classifier", "head", options_.output, sizes.labels, sizes.hidden);
  output_.site = builder.activation("classifier.logits", "logits");
}

Rows ClassificationHead::read(const Rows& rows, const ModelInput& input) const {
  if (options_.end_id < 0) return first_rows(rows, input);
  const Batch& batch = input.batch;
  const int64_t* ids = batch.token_ids.const_data_ptr<int64_t>();
  std::vector<int64_t> ends;
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    int64_t end = batch.offsets[i + 1] - 1;
    while (end >= batch.offsets[i] && ids[end] != options_.end_id) --end;
    if (end < batch.offsets[i]) {
      throw DataError(
          fmt::format("sequence {} of a batch has no end token (id {}), which the model classifies "
                      "by; the token ids belong to another model",
                      i, options_.end_id));
    }
    ends.push_back(end);
  }
  return chosen_rows(rows, at::tensor(ends, at::kLong).to(rows.values.device()));
}

Outputs ClassificationHead::run(const Rows& rows, const ModelInput& input, const Pass& pass) const {
  Rows token = pass.activation(input_site_, read(rows, input));
  if (options_.drops_input) token = pass.dropout(DropoutPlace::kHead, std::move(token));
  token = dense_.forward(pass, token);
  token = pass.activation(hidden_site_, {apply(options_.nonlinearity, std::move(token.values))});
  token = pass.dropout(DropoutPlace::kHead, std::move(token));
  return {{"logits", output_.forward(pass, token).values}};
}

Outputs ClassificationHead::zero_outputs(const Batch& batch) const {
  return {{"logits", at::zeros({batch.sequences(), labels_})}};
}

void ClassificationHead::write(GraphWriter& writer, const GraphWriter::Value& rows) const {
  if (options_.end_id >= 0) refuse_graph("a head that reads the last end token");
  GraphWriter::Value token = writer.activation(input_site_, write_first_rows(writer, rows));
  token = dense_.write(writer, token);
  token = writer.activation(hidden_site_, quell::write(options_.nonlinearity, writer, token));
  writer.output("logits", output_.write(writer, token), {"sequences", std::to_string(labels_)});
}

}  // namespace quell

#include "models/blocks/classification_head.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "framework/base/error.h"

namespace quell {

void ClassificationHead::expect(const HeadSizes& sizes,
                                std::vector<ExpectedTensor>& expected) const {
  expect_linear(options_.dense, sizes.hidden, sizes.hidden, expected);
  expect_linear(options_.output, sizes.labels, sizes.hidden, expected);
}

void ClassificationHead::declare(const HeadSizes& sizes, Declarations& declarations) {
  labels_ = sizes.labels;
  input_site_ =
      declarations.activation("pooler.input", "head_input", -1,
                              {options_.published + ".getitem_post_act_fake_quantize", ""});
  dense_ = declarations.linear("pooler.dense", "head", -1, options_.dense);
  dense_site_ = declarations.activation("pooler.dense", "head_dense", -1,
                                        {"", options_.dense + ".activation_quantizer"});
  hidden_site_ = declarations.activation(
      "pooler.output", "head_hidden", -1,
      {options_.published + ".dropout_post_act_fake_quantize", ""}, "pooler.tanh");
  output_ = declarations.linear("classifier", "head", -1, options_.output);
  logits_site_ = declarations.activation("classifier.logits", "logits", -1,
                                         {"", options_.output + ".activation_quantizer"});
}

at::Tensor ClassificationHead::read(const at::Tensor& rows, const Batch& batch) const {
  if (options_.end_id < 0) return first_rows(rows, batch);
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
  return at::index_select(rows, 0, at::tensor(ends, at::kLong));
}

Outputs ClassificationHead::run(const at::Tensor& rows, const Batch& batch,
                                QuantContext& context) const {
  at::Tensor token = context.activation(input_site_, read(rows, batch));
  if (options_.drops_input) token = context.dropout(DropoutPlace::kHead, std::move(token));
  token = context.activation(dense_site_, dense_.forward(context, token));
  token = context.activation(hidden_site_, apply(options_.nonlinearity, std::move(token)));
  token = context.dropout(DropoutPlace::kHead, std::move(token));
  return {{"logits", context.activation(logits_site_, output_.forward(context, token))}};
}

Outputs ClassificationHead::zero_outputs(const Batch& batch) const {
  return {{"logits", at::zeros({batch.sequences(), labels_})}};
}

}  // namespace quell

#include "solvers/training/teacher.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "framework/base/error.h"

namespace quell {
namespace {

const std::string kPrefix = "teacher.";

at::Tensor rows_of(const Batch& batch) { return at::tensor(batch.example_ids, at::kLong); }

}  // namespace

Teacher::Teacher(const PipelineContext& context, TrainingBatches& batches) {
  const at::NoGradGuard no_gradients;
  const Pass pass(context.points);
  for (int64_t i = 0; i < batches.per_epoch(); ++i) {
    const Batch batch = batches.at(i);
    for (const auto& [name, output] : context.model.forward(batch, pass)) {
      if (output.dim() == 1) {
        throw ConfigError(
            fmt::format("qat: a model with the output \"{}\" for every token cannot be distilled; "
                        "leave `distillation` out",
                        name));
      }
      at::Tensor& all = outputs_[name];
      if (!all.defined()) {
        std::vector<int64_t> shape = output.sizes().vec();
        shape[0] = batches.examples();
        all = at::empty(shape, output.options());
      }
      all.index_copy_(0, rows_of(batch), output);
    }
    context.log.progress("qat: float outputs", i + 1, batches.per_epoch());
  }
}

Teacher::Teacher(const NamedTensors& stored) {
  for (const auto& [name, tensor] : stored) {
    if (name.starts_with(kPrefix)) outputs_[name.substr(kPrefix.size())] = tensor;
  }
}

Outputs Teacher::outputs(const Batch& batch) const {
  Outputs result;
  for (const auto& [name, all] : outputs_) {
    result[name] = at::index_select(all, 0, rows_of(batch));
  }
  return result;
}

NamedTensors Teacher::state() const {
  NamedTensors state;
  for (const auto& [name, all] : outputs_) state[kPrefix + name] = all;
  return state;
}

}  // namespace quell

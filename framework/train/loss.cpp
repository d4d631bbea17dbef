#include "framework/train/loss.h"

#include <ATen/core/Reduction.h>
#include <ATen/ops/add.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/div.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/max.h>
#include <ATen/ops/min.h>
#include <ATen/ops/mse_loss.h>
#include <fmt/format.h>

#include "framework/base/error.h"

namespace quell {

at::Tensor task_loss(const Outputs& outputs, const Batch& batch) {
  const at::Tensor& logits = outputs.at("logits");
  if (!batch.labels.defined()) {
    throw DataError("an example without a label cannot be trained on; give the data labels");
  }
  const int64_t classes = logits.size(-1);
  if (batch.labels.is_floating_point()) {
    if (classes == 1) return at::mse_loss(logits.view({-1}), batch.labels);
    throw DataError(fmt::format(
        "labels are scores, but the model has {} outputs; expected one, or classes as labels",
        classes));
  }
  const auto smallest = at::min(batch.labels).item<int64_t>();
  const auto largest = at::max(batch.labels).item<int64_t>();
  if (smallest < 0 || largest >= classes) {
    throw DataError(fmt::format("label {} is no class of the model, which has {}",
                                smallest < 0 ? smallest : largest, classes));
  }
  return at::cross_entropy_loss(logits, batch.labels);
}

at::Tensor distillation_loss(const Outputs& outputs, const Outputs& teacher, double temperature) {
  at::Tensor total;
  for (const auto& [name, target] : teacher) {
    const at::Tensor& output = outputs.at(name);
    at::Tensor loss;
    if (output.size(-1) == 1) {
      loss = at::mse_loss(output, target);
    } else {
      const auto log_shares = [&](const at::Tensor& logits) {
        return at::log_softmax(at::div(logits, temperature), -1);
      };
      const auto sequences = static_cast<double>(output.size(0));
      loss = at::kl_div(log_shares(output), log_shares(target), at::Reduction::Sum,
                        /*log_target=*/true)
                 .mul(temperature * temperature / sequences);
    }
    total = total.defined() ? total.add(loss) : loss;
  }
  return total;
}

at::Tensor output_distance(const Outputs& outputs, const Outputs& targets) {
  at::Tensor sum;
  for (const auto& [name, target] : targets) {
    const at::Tensor error = at::mse_loss(outputs.at(name), target);
    sum = sum.defined() ? at::add(sum, error) : error;
  }
  return sum;
}

}  // namespace quell

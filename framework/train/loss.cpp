#include "framework/train/loss.h"

#include <ATen/core/Reduction.h>
#include <ATen/ops/add.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/div.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/max.h>
#include <ATen/ops/min.h>
#include <ATen/ops/mse_loss.h>
#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/quant/real_rows.h"

namespace quell {

namespace {

at::Tensor classification_loss(const at::Tensor& logits, const Batch& batch) {
  if (!batch.labels.defined()) {
    throw DataError(
        "an example without a label cannot be trained on; give the data labels, or train with "
        "`distillation: {weight: 1}`, which needs none");
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

// The scores of one sequence's tokens, [1, tokens].
at::Tensor of_sequence(const at::Tensor& scores, const Batch& batch, int64_t sequence) {
  return scores.narrow(0, batch.offsets[sequence], batch.length(sequence)).unsqueeze(0);
}

at::Tensor position_loss(const at::Tensor& scores, const at::Tensor& positions,
                         const Batch& batch) {
  if (!positions.defined()) {
    throw DataError("an example without an answer cannot be trained on; give the data positions");
  }
  at::Tensor sum;
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    const at::Tensor position = positions.narrow(0, i, 1);
    const auto place = position.item<int64_t>();
    if (place < 0 || place >= batch.length(i)) {
      throw DataError(fmt::format("an answer at token {} of a sequence with {} tokens", place,
                                  batch.length(i)));
    }
    const at::Tensor loss = at::cross_entropy_loss(of_sequence(scores, batch, i), position);
    sum = sum.defined() ? sum.add(loss) : loss;
  }
  return sum.div(batch.sequences());
}

}  // namespace

at::Tensor task_loss(const Outputs& outputs, const Batch& batch) {
  const auto start = outputs.find("start_logits");
  if (start == outputs.end()) return classification_loss(outputs.at("logits"), batch);
  return position_loss(start->second, batch.start_positions, batch)
      .add(position_loss(outputs.at("end_logits"), batch.end_positions, batch))
      .div(2);
}

at::Tensor clamped_scores(const at::Tensor& scores) {
  return at::clamp(scores, kLowestScore, kHighestScore);
}

at::Tensor without_padding(const at::Tensor& output, const Batch& batch) {
  return RealRows(batch.target_offsets(), batch.target_valid_lengths()).of(output);
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
      const auto rows = static_cast<double>(output.size(0));
      loss = at::kl_div(log_shares(output), log_shares(target), at::Reduction::Sum,
                        /*log_target=*/true)
                 .mul(temperature * temperature / rows);
    }
    total = total.defined() ? total.add(loss) : loss;
  }
  return total;
}

at::Tensor output_distance(const Outputs& outputs, const Outputs& targets, const Batch& batch) {
  at::Tensor sum;
  for (const auto& [name, target] : targets) {
    const at::Tensor error =
        at::mse_loss(without_padding(outputs.at(name), batch), without_padding(target, batch));
    sum = sum.defined() ? at::add(sum, error) : error;
  }
  return sum;
}

}  // namespace quell

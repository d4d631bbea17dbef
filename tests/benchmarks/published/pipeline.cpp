#include "tests/benchmarks/published/pipeline.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <cmath>

#include "tests/benchmarks/published/adam.h"

namespace quell::published {
namespace {

constexpr double kSampledRatio = 0.95;  // any: they all do the same operations

}  // namespace

int64_t ratio_count(int64_t bits) { return bits >= 8 ? 10 : bits >= 6 ? 30 : 90; }

Pipeline::Pipeline(const Settings& settings, std::vector<PaddedBatch> calibration,
                   std::vector<PaddedBatch> evaluation)
    : settings_(settings),
      model_(settings.model, settings.bits, settings.device),
      calibration_(std::move(calibration)),
      evaluation_(std::move(evaluation)) {
  for (PaddedBatch& batch : calibration_) batch = batch.to(settings.device);
  for (PaddedBatch& batch : evaluation_) batch = batch.to(settings.device);
}

void Pipeline::wait() const {
  // Whoever reads a value waits for all that was started before.
  if (!settings_.device.is_cpu()) at::zeros({1}, settings_.device).item<float>();
}

Times Pipeline::run(int64_t ratios) {
  Times times;
  times["targets"] = timed([&] { compute_targets(calibration_.size()); });
  times["gamma_migration"] = timed([&] { model_.migrate_gamma(); });
  times["weights"] = timed([&] { observe_weights(); });
  times["search"] = timed([&] { search(ratios > 0 ? ratios : ratio_count(settings_.bits)); });
  coarse_ = parameters();
  const auto steps = settings_.epochs * static_cast<int64_t>(calibration_.size());
  times["learning"] = timed([&] { learn(steps); });
  times["evaluation"] = timed([&] { evaluate(evaluation_.size()); });
  return times;
}

Time Pipeline::sample_search(size_t batches, Times& times) {
  const size_t part = std::min(calibration_.size(), batches);
  const double scale = static_cast<double>(calibration_.size()) / static_cast<double>(part);
  times["targets"] = scale * timed([&] { compute_targets(part); });
  times["gamma_migration"] = timed([&] { model_.migrate_gamma(); });
  times["weights"] = timed([&] { observe_weights(); });
  observing_time_ = scale * timed([&] { observe(kSampledRatio, part); });
  quantized_time_ = scale * timed([&] { loss_of_batches(part); });
  const auto ratios = static_cast<double>(ratio_count(settings_.bits));
  times["search"] = ratios * (observing_time_ + quantized_time_) + observing_time_;
  return times["search"];
}

Times Pipeline::sample(const Sample& sample) {
  Times times;
  sample_search(static_cast<size_t>(sample.batches), times);
  if (sample.learning_steps > 0) {
    const auto steps =
        static_cast<double>(settings_.epochs) * static_cast<double>(calibration_.size());
    times["learning"] = steps / static_cast<double>(sample.learning_steps) *
                        timed([&] { learn(sample.learning_steps); });
  }
  double sequences = 0, sampled = 0;
  const size_t evaluated = std::min(evaluation_.size(), static_cast<size_t>(sample.batches));
  for (size_t i = 0; i < evaluation_.size(); ++i) {
    const auto count = static_cast<double>(evaluation_[i].sequences());
    sequences += count;
    if (i < evaluated) sampled += count;
  }
  times["evaluation"] = sequences / sampled * timed([&] { evaluate(evaluated); });
  return times;
}

void Pipeline::compute_targets(size_t batches) {
  targets_.clear();
  for (size_t i = 0; i < batches; ++i) targets_.push_back(model_.logits(calibration_[i]));
}

void Pipeline::observe_weights() {
  model_.observe_weights(true);
  model_.logits(calibration_.front());
  model_.observe_weights(false);
}

void Pipeline::observe(double ratio, size_t batches) {
  for (ActivationQuantizer& quantizer : model_.activations()) {
    quantizer.ratio = ratio;
    quantizer.restart();
  }
  model_.quantize_activations(false);
  model_.observe_activations(true);
  for (size_t i = 0; i < batches; ++i) model_.logits(calibration_[i]);
  model_.observe_activations(false);
  model_.quantize_activations(true);
}

double Pipeline::loss_of_batches(size_t batches) {
  float loss = 0;
  for (size_t i = 0; i < batches; ++i) {
    loss += at::mse_loss(model_.logits(calibration_[i]), targets_[i]).item<float>();
  }
  return loss;
}

void Pipeline::search(int64_t ratios) {
  double best = 1e7;
  for (int64_t i = 0; i < ratios; ++i) {
    const double ratio = 1.0 - kRatioStep * static_cast<double>(i);
    observe(ratio, calibration_.size());
    losses_.push_back(loss_of_batches(calibration_.size()));
    if (losses_.back() < best) {
      best = losses_.back();
      chosen_ratio_ = ratio;
    }
  }
  observe(chosen_ratio_, calibration_.size());
}

// Weights are not learned, but the published code computes their gradients, too.
void Pipeline::learn(int64_t steps) {
  const at::AutoGradMode gradients(true);
  for (at::Tensor& parameter : model_.parameters()) parameter.set_requires_grad(true);
  std::vector<at::Tensor> learned;
  for (ActivationQuantizer& quantizer : model_.activations()) {
    learned.push_back(quantizer.scale.set_requires_grad(true));
    learned.push_back(quantizer.zero_point.set_requires_grad(true));
  }
  const auto all = settings_.epochs * static_cast<int64_t>(calibration_.size());
  Adam adam(learned, settings_.learning_rate, all);
  for (int64_t step = 0; step < steps; ++step) {
    const auto batch = static_cast<size_t>(step) % targets_.size();
    const at::Tensor loss = at::mse_loss(model_.logits(calibration_[batch]), targets_[batch]);
    adam.zero_gradients();
    loss.backward();
    adam.step();
  }
  for (at::Tensor& tensor : learned) tensor.set_requires_grad(false);
  for (at::Tensor& parameter : model_.parameters()) {
    parameter.mutable_grad() = at::Tensor();
    parameter.set_requires_grad(false);
  }
}

void Pipeline::evaluate(size_t batches) {
  model_.quantize_weights(true);
  model_.quantize_activations(true);
  evaluation_logits_.clear();
  for (size_t i = 0; i < batches; ++i) {
    evaluation_logits_.push_back(model_.logits(evaluation_[i]).to(at::kCPU));
  }
  model_.quantize_weights(false);
}

std::map<std::string, std::pair<double, double>> Pipeline::parameters() {
  std::map<std::string, std::pair<double, double>> result;
  for (const ActivationQuantizer& quantizer : model_.activations()) {
    result[quantizer.name()] = {quantizer.scale.item<double>(),
                                quantizer.zero_point.item<double>()};
  }
  return result;
}

}  // namespace quell::published

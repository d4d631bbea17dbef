// Quantization-aware training: weights, scales and zero points learn together from the task
// (LSQ, Esser et al. 2020; LSQ+, Bhalgat et al. 2020; Outlier Suppression, section 5.3).

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <cmath>
#include <numeric>
#include <optional>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/train/batches.h"
#include "framework/train/gradients.h"
#include "framework/train/loss.h"
#include "solvers/training/options.h"
#include "solvers/training/teacher.h"
#include "solvers/training/trained_network.h"

namespace quell {
namespace {

constexpr const char* kName = "qat";

class Qat final : public Solver {
 public:
  explicit Qat(const QatOptions& options) : options_(options) {}
  void check(Model& model, const TrainingData* training) const override;
  void run(PipelineContext& context) override;

 private:
  void check_data(const TrainingData* training) const;
  void check_loss(const Model& model) const;
  TrainingBatches batches(const PipelineContext& context) const;
  LearningRate learning_rate(int64_t steps_per_epoch) const;

  QatOptions options_;
};

// One training from its first step, or from what was stored, to its last.
class Training {
 public:
  Training(PipelineContext& context, const QatOptions& options, TrainingBatches& batches,
           const LearningRate& rate)
      : context_(context),
        options_(options),
        batches_(batches),
        rate_(rate),
        teacher_(make_teacher()),
        network_(context, options),
        adam_(network_.tensors(), {.variant = options.optimizer}) {}

  Record run();

 private:
  std::optional<Teacher> make_teacher();
  double take_step(int64_t step);
  at::Tensor loss_of(const Batch& batch) const;
  void restore();
  void store(const std::vector<double>& losses);
  void report(const std::vector<double>& losses) const;

  PipelineContext& context_;
  const QatOptions& options_;
  TrainingBatches& batches_;
  LearningRate rate_;
  std::optional<Teacher> teacher_;
  TrainedNetwork network_;
  Adam adam_;
};

std::optional<Teacher> Training::make_teacher() {
  if (options_.distillation.weight == 0) return std::nullopt;
  const NamedTensors& saved = context_.progress.saved();
  return saved.empty() ? Teacher(context_, batches_) : Teacher(saved);
}

void Training::restore() {
  const NamedTensors& saved = context_.progress.saved();
  if (saved.empty()) return;
  adam_.set_state(saved);
  network_.restore(saved);
}

void Training::store(const std::vector<double>& losses) {
  NamedTensors state = adam_.state();
  state.merge(network_.state());
  if (teacher_) state.merge(teacher_->state());
  state["losses"] = at::tensor(losses, at::kDouble);
  context_.progress.save(state);
}

void clamp_scores(const Batch& batch, Outputs& outputs) {
  if (!batch.labels.defined() || !batch.labels.is_floating_point()) {
    throw ConfigError(fmt::format(
        "{}: clamp_scores is for scores, but the labels of this task are none; leave it out",
        kName));
  }
  outputs["logits"] = clamped_scores(outputs["logits"]);
}

at::Tensor Training::loss_of(const Batch& batch) const {
  Outputs outputs = context_.model.forward(batch, network_.pass(batch));
  if (options_.clamp_scores) clamp_scores(batch, outputs);
  const auto& [weight, temperature] = options_.distillation;
  if (!teacher_) return task_loss(outputs, batch);
  Outputs real;
  for (const auto& [name, output] : outputs) real[name] = without_padding(output, batch);
  const at::Tensor distance =
      distillation_loss(real, teacher_->outputs(batch), temperature).mul(weight);
  return weight == 1 ? distance : distance.add(task_loss(outputs, batch).mul(1 - weight));
}

double Training::take_step(int64_t step) {
  const at::AutoGradMode gradients(true);
  network_.start_step(step);
  const at::Tensor value = loss_of(batches_.at(step));
  const double result = value.item<double>();
  if (!std::isfinite(result)) {
    throw Error(
        fmt::format("{}: the loss of step {} is {}; lower the learning rate, or look at "
                    "the ranges that training starts from",
                    kName, step, result));
  }
  value.backward();
  clip_gradients(adam_.trained(), options_.max_gradient_norm);
  const at::NoGradGuard no_gradients;
  adam_.step(rate_.at(step));
  adam_.clear_gradients();
  network_.end_step();
  return result;
}

void Training::report(const std::vector<double>& losses) const {
  const auto steps = std::ssize(losses);
  context_.log.progress(kName, steps, rate_.steps);
  if (steps % batches_.per_epoch() != 0) return;
  const double sum = std::accumulate(losses.end() - batches_.per_epoch(), losses.end(), 0.0);
  context_.log.info(fmt::format("{}: epoch {} of {}, mean loss {:.6g}", kName,
                                steps / batches_.per_epoch(), options_.epochs,
                                sum / static_cast<double>(batches_.per_epoch())));
}

Record Training::run() {
  restore();
  std::vector<double> loss, learning_rate;
  const NamedTensors& saved = context_.progress.saved();
  if (!saved.empty()) {
    const at::Tensor losses = saved.at("losses");
    const double* first = losses.const_data_ptr<double>();
    loss.assign(first, first + losses.numel());
    context_.log.info(fmt::format("{}: goes on behind step {}", kName, losses.numel()));
  }
  while (std::ssize(loss) < rate_.steps) {
    loss.push_back(take_step(std::ssize(loss)));
    report(loss);
    const auto steps = std::ssize(loss);
    const int64_t every = options_.checkpoint_every;
    if (every > 0 && (steps % every == 0 || steps == rate_.steps)) store(loss);
  }
  for (int64_t step = 0; step < rate_.steps; ++step) {
    learning_rate.push_back(rate_.at(step));
  }
  network_.finish();
  return learning_record(kName, loss, learning_rate);
}

void Qat::check_data(const TrainingData* training) const {
  if (options_.data == TrainingSource::kTrain) {
    if (training != nullptr) return;
    throw ConfigError(
        fmt::format("{}: this task has no training data; use `data: calibration`", kName));
  }
  if (options_.samples == 0 && options_.batch_size == 0) return;
  throw ConfigError(
      fmt::format("{}: `data: calibration` takes the calibration batches as they are; leave "
                  "`samples` and `batch_size` out",
                  kName));
}

void Qat::check_loss(const Model& model) const {
  const double weight = options_.distillation.weight;
  const TokenSequence sequence{{0, 0}, {}};
  for (const auto& [name, output] : model.zero_outputs(pack({&sequence, 1}))) {
    if (output.dim() == 1 && weight > 0) {
      throw ConfigError(
          fmt::format("{}: the output \"{}\" is a score for every token and has no classes, so it "
                      "cannot be distilled; leave `distillation` out",
                      kName, name));
    }
    if (output.dim() > 1 && model.output_rows() == RowsOf::kTargets && weight < 1) {
      throw ConfigError(
          fmt::format("{}: the model scores the next token of a text, for which there is no loss "
                      "from labels; learn from the float network alone, with `distillation: "
                      "{{weight: 1}}`",
                      kName));
    }
  }
}

void Qat::check(Model& model, const TrainingData* training) const {
  check_data(training);
  check_loss(model);
}

TrainingBatches Qat::batches(const PipelineContext& context) const {
  if (options_.data == TrainingSource::kCalibration) return TrainingBatches(context.calibration);
  return {*context.training, options_.samples, options_.batch_size, context.seed};
}

LearningRate Qat::learning_rate(int64_t steps_per_epoch) const {
  const int64_t steps = options_.epochs * steps_per_epoch;
  return {options_.learning_rate, options_.schedule, steps, warmup_steps(options_.warmup, steps)};
}

void Qat::run(PipelineContext& context) {
  check(context.model, context.training);
  TrainingBatches data = batches(context);
  const LearningRate rate = learning_rate(data.per_epoch());
  if (options_.quantize) original_outputs(context);  // of the network that is about to change
  context.log.info(fmt::format("{}: {} examples, {} steps", kName, data.examples(), rate.steps));
  context.records.push_back(Training(context, options_, data, rate).run());
}

}  // namespace

void register_solver_qat(Plugins& plugins) {
  add_plugin<Qat, QatOptions>(plugins.solvers, kName,
                              "Train weights, scales and zero points on the task, quantized; or "
                              "the float network alone.",
                              "OS 1.1.9; LSQ (Esser et al. 2020), LSQ+ (Bhalgat et al. 2020)")
      .breaks("float_network_stays", "it trains the weights");
}

}  // namespace quell

#include "solvers/adaround/rounding_optimizer.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <cmath>
#include <numbers>

#include "framework/base/error.h"

namespace quell {

bool is_warm(const RoundingSchedule& schedule, int64_t iteration) {
  return static_cast<double>(iteration) >=
         static_cast<double>(schedule.iterations) * schedule.warmup;
}

double scheduled_beta(const RoundingSchedule& schedule, int64_t iteration) {
  const auto last = static_cast<double>(schedule.iterations);
  const double start = schedule.warmup * last;
  const auto now = static_cast<double>(iteration);
  if (now < start) return schedule.beta_start;
  const double done = (now - start) / (last - start);
  const double left = schedule.decay == BetaDecay::kLinear
                          ? std::max(0.0, 1 - done)
                          : 0.5 * (1 + std::cos(done * std::numbers::pi));
  return schedule.beta_end + (schedule.beta_start - schedule.beta_end) * left;
}

// The published code sets it behind the forward pass of an iteration, for the next one.
double temperature_behind(const RoundingSchedule& schedule, int64_t iteration) {
  return iteration > 0 && is_warm(schedule, iteration) ? scheduled_beta(schedule, iteration)
                                                       : schedule.beta_start;
}

kernels::RoundingStep scheduled_step(const RoundingSchedule& schedule, int64_t iteration) {
  const auto steps = static_cast<double>(iteration);
  kernels::RoundingStep step;
  step.relaxation = schedule.relaxation;
  step.temperature = static_cast<float>(temperature_behind(schedule, iteration - 1));
  step.next_temperature = static_cast<float>(temperature_behind(schedule, iteration));
  const bool regularized = is_warm(schedule, iteration) &&
                           schedule.relaxation != kernels::Relaxation::kTemperatureSigmoid;
  step.regularizer = regularized ? static_cast<float>(schedule.regularizer) : 0.0f;
  step.beta = static_cast<float>(scheduled_beta(schedule, iteration));
  step.step_size = static_cast<float>(schedule.learning_rate / (1 - std::pow(0.9, steps)));
  step.second_correction = static_cast<float>(std::sqrt(1 - std::pow(0.999, steps)));
  return step;
}

RoundingOptimizer::RoundingOptimizer(const RoundingSchedule& schedule,
                                     Reconstruction& reconstruction, SoftWeight& weight)
    : schedule_(schedule),
      reconstruction_(reconstruction),
      weight_(weight),
      gradient_(at::empty_like(weight.values())) {}

void RoundingOptimizer::step() {
  const int64_t iteration = iterations() + 1;
  reconstruction_.start(iteration - 1);
  const double factor = reconstruction_.loss_factor();
  kernels::RoundingStep step = scheduled_step(schedule_, iteration);
  step.gradient_factor = static_cast<float>(2 * factor);
  reconstruction_loss_.push_back(factor *
                                 reconstruction_.squared_error(weight_.values(), gradient_));
  regularizer_loss_.push_back(schedule_.regularizer * weight_.step(gradient_, step));
}

NamedTensors RoundingOptimizer::state() const {
  NamedTensors state = weight_.state();
  state["reconstruction_loss"] = at::tensor(reconstruction_loss_, at::kDouble);
  state["regularizer_loss"] = at::tensor(regularizer_loss_, at::kDouble);
  return state;
}

void RoundingOptimizer::set_state(const NamedTensors& state) {
  const auto losses = [&](const char* name) {
    const at::Tensor& stored = stored_tensor(state, name);
    if (stored.scalar_type() != at::kDouble || stored.numel() > schedule_.iterations) {
      throw DataError("the stored progress of adaround is that of another schedule");
    }
    const auto* data = stored.const_data_ptr<double>();
    return std::vector<double>(data, data + stored.numel());
  };
  reconstruction_loss_ = losses("reconstruction_loss");
  regularizer_loss_ = losses("regularizer_loss");
  weight_.set_state(state, temperature_behind(schedule_, iterations()));
}

}  // namespace quell

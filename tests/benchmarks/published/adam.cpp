#include "tests/benchmarks/published/adam.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <cmath>
#include <numbers>

namespace quell::published {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

}  // namespace

Adam::Adam(std::vector<at::Tensor> parameters, double learning_rate, int64_t all_steps)
    : parameters_(std::move(parameters)), learning_rate_(learning_rate), all_steps_(all_steps) {
  for (const at::Tensor& parameter : parameters_) {
    moments_.push_back({at::zeros_like(parameter), at::zeros_like(parameter)});
  }
}

void Adam::zero_gradients() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad() = at::Tensor();
}

void Adam::step() {
  const at::NoGradGuard no_gradients;
  const double progress = static_cast<double>(steps_) / static_cast<double>(all_steps_);
  const double rate = learning_rate_ * (1 + std::cos(std::numbers::pi * progress)) / 2;
  const auto count = static_cast<double>(++steps_);
  const double correction1 = 1 - std::pow(kBeta1, count), correction2 = 1 - std::pow(kBeta2, count);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor gradient = parameters_[i].grad();
    if (!gradient.defined()) continue;
    auto& [first, second] = moments_[i];
    first.lerp_(gradient, 1 - kBeta1);
    second.mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
    const at::Tensor divisor = (second.sqrt() / std::sqrt(correction2)).add_(kEpsilon);
    parameters_[i].addcdiv_(first, divisor, -rate / correction1);
  }
}

}  // namespace quell::published

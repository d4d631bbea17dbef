#include "tests/benchmarks/published/quantizer.h"

#include <ATen/ATen.h>
#include <cmath>
#include <limits>

#include "tests/benchmarks/published/operations.h"

namespace quell::published {
namespace {

constexpr double kSmallestScale = 1e-8;

// The real tokens of all sequences as [tokens, values of a token], one concatenation per sequence.
at::Tensor without_padding(const at::Tensor& x, const at::Tensor& mask, int64_t sequence_axis) {
  const at::Tensor lengths = mask.sum(1);
  at::Tensor tokens = x;
  if (x.dim() == 4) {
    tokens = sequence_axis == 2 ? x.permute({0, 2, 1, 3}) : x.permute({0, 3, 1, 2});
    tokens = tokens.reshape({tokens.size(0), tokens.size(1), -1});
  }
  at::Tensor kept = tokens[0].narrow(0, 0, lengths[0].item<int64_t>());
  for (int64_t i = 1; i < tokens.size(0); ++i) {
    kept = at::cat({kept, tokens[i].narrow(0, 0, lengths[i].item<int64_t>())});
  }
  return kept;
}

// The tokens with the most extreme values cut down to the others.
at::Tensor clip_tokens(const at::Tensor& tokens, double ratio) {
  const at::Tensor highest = std::get<0>(at::max(tokens, 1));
  const at::Tensor lowest = std::get<0>(at::min(tokens, 1));
  const at::Tensor upper_limit = at::quantile(highest.abs(), ratio);
  const at::Tensor lower_limit = -at::quantile(lowest.abs(), ratio);
  const at::Tensor upper = highest.index({highest <= upper_limit}).max();
  const at::Tensor lower = lowest.index({lowest >= lower_limit}).min();
  return at::clip(tokens, lower, upper);
}

}  // namespace

WeightQuantizer::WeightQuantizer(std::string name, int64_t bits)
    : name_(std::move(name)), low_(-(1 << (bits - 1))), high_((1 << (bits - 1)) - 1) {}

at::Tensor WeightQuantizer::apply(const at::Tensor& weight) {
  if (observe) {
    const at::Tensor x = weight.clone().detach().flatten(1);
    const auto [min, max] = at::aminmax(x, 1);
    const at::Tensor zeros = at::zeros_like(min);
    const at::Tensor reach = at::maximum(-at::minimum(min, zeros), at::maximum(max, zeros));
    const double half_levels = static_cast<double>(high_ - low_) / 2;
    scale_ = at::clamp_min(reach / half_levels, kSmallestScale);
    zero_point_ = zeros;
  }
  if (!quantize) return weight;
  return quantize_dequantize(weight, scale_.reshape({-1, 1}), zero_point_.reshape({-1, 1}), low_,
                             high_);
}

ActivationQuantizer::ActivationQuantizer(std::string name, int64_t bits, RangeRule rule,
                                         at::Device device)
    : scale(at::ones({1}, device)),
      zero_point(at::zeros({1}, device)),
      name_(std::move(name)),
      low_(0),
      high_((1 << bits) - 1),
      rule_(rule) {}

at::Tensor ActivationQuantizer::apply(const at::Tensor& x, const at::Tensor& mask,
                                      int64_t sequence_axis) {
  if (observe) {
    observe_batch(x, mask, sequence_axis);
    update_parameters();
  } else {
    const at::Tensor smallest = at::scalar_tensor(std::numeric_limits<float>::epsilon());
    scale.detach().abs_().clamp_min_(smallest.item());
    zero_point.detach().clamp_(low_, high_);
  }
  if (!quantize) return x;
  const double factor =
      1.0 / std::sqrt(static_cast<double>(x.numel()) * static_cast<double>(high_));
  return quantize_dequantize(x, scale_gradient(scale, factor),
                             scale_gradient(round_straight_through(zero_point), factor), low_,
                             high_);
}

void ActivationQuantizer::observe_batch(const at::Tensor& x, const at::Tensor& mask,
                                        int64_t sequence_axis) {
  at::Tensor tokens = x.clone().detach();
  if (mask.defined()) {
    tokens = without_padding(tokens, mask, sequence_axis);
    if (rule_ == RangeRule::kPruneMinMax) tokens = clip_tokens(tokens, ratio);
  }
  const auto [min, max] = at::aminmax(tokens);
  min_ = batches_ == 0 ? min : (min_ * batches_ + min) / (batches_ + 1);
  max_ = batches_ == 0 ? max : (max_ * batches_ + max) / (batches_ + 1);
  ++batches_;
}

void ActivationQuantizer::update_parameters() {
  const at::Tensor zero = at::zeros_like(min_);
  const at::Tensor low = at::minimum(min_, zero), high = at::maximum(max_, zero);
  const at::Tensor step =
      at::clamp_min((high - low) / static_cast<double>(high_ - low_), kSmallestScale);
  scale.detach().copy_(step.reshape({1}));
  zero_point.detach().copy_(at::clamp(low_ - at::round(low / step), low_, high_).reshape({1}));
}

}  // namespace quell::published

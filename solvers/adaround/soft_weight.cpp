#include "solvers/adaround/soft_weight.h"

#include <ATen/ops/clamp.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/floor.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"
#include "framework/quant/scale_map.h"
#include "solvers/adaround/pieces.h"

namespace quell {
namespace {

// The variable whose share is `rest` [0, 1), in float32 and in the order of the published code.
at::Tensor variable_of(const at::Tensor& rest, kernels::Relaxation relaxation, double temperature) {
  if (relaxation == kernels::Relaxation::kHardSigmoid) {
    return rest.neg().add(1.1).div(rest.sub(-0.1)).log().neg();
  }
  const at::Tensor variable = at::clamp(rest, 1e-16, 1 - 1e-16).reciprocal().sub(1).log().neg();
  return relaxation == kernels::Relaxation::kTemperatureSigmoid ? variable.mul(temperature)
                                                                : variable;
}

void restore(const at::Tensor& target, const NamedTensors& state, const char* name) {
  const at::Tensor& stored = stored_tensor(state, name);
  if (stored.sizes() != target.sizes() || stored.scalar_type() != at::kFloat) {
    throw DataError("the stored progress of adaround is that of another weight");
  }
  target.copy_(stored);
}

// Of the rows that a thread takes at once.
constexpr int64_t kValues = 1 << 15;

}  // namespace

SoftWeight::SoftWeight(const at::Tensor& weight, const QuantParameters& parameters,
                       const QuantSpec& spec, kernels::Relaxation relaxation, double temperature)
    : relaxation_(relaxation), shape_(weight.sizes().vec()), levels_(parameters.levels) {
  const ScaleMap map = ScaleMap::of_parameters(spec, weight.sizes(), parameters.scale.numel());
  channels_ = map.channels();
  inner_ = map.inner();
  scale_ = map.expand(parameters.scale).contiguous();
  zero_point_ = map.expand(parameters.zero_point).contiguous();
  const at::Tensor quotient = weight.detach()
                                  .contiguous()
                                  .view({map.outer(), channels_, inner_})
                                  .div(scale_.view({1, -1, 1}));
  const int64_t columns = weight.dim() == 1 ? weight.size(0) : weight.size(1);
  const auto matrix = [&](const at::Tensor& tensor) { return tensor.view({-1, columns}); };
  const at::Tensor lower = at::floor(quotient);
  lower_ = matrix(lower);
  variable_ = matrix(variable_of(quotient.sub(lower), relaxation, temperature));
  first_ = at::zeros_like(variable_);
  second_ = at::zeros_like(variable_);
  values_ = at::empty_like(variable_);
  soften(temperature);
}

void SoftWeight::for_each_stretch(
    int64_t first, int64_t last,
    const std::function<void(const kernels::SoftWeights&, int64_t)>& work) const {
  const int64_t end = last * columns();
  const auto* scale = scale_.const_data_ptr<float>();
  const auto* zero_point = zero_point_.const_data_ptr<float>();
  for (int64_t i = first * columns(); i < end;) {
    const bool one_scale = inner_ > 1 || channels_ == 1;
    const int64_t channel = i / inner_ % channels_;
    // Up to where the next scale, or the first one again, begins.
    const int64_t length = channels_ == 1 ? end - i
                           : one_scale    ? inner_ - i % inner_
                                          : channels_ - channel;
    const kernels::SoftWeights part{.size = std::min(length, end - i),
                                    .lower = lower_.const_data_ptr<float>() + i,
                                    .scale = scale + channel,
                                    .zero_point = zero_point + channel,
                                    .one_scale = one_scale,
                                    .levels = levels_,
                                    .variable = variable_.mutable_data_ptr<float>() + i,
                                    .first = first_.mutable_data_ptr<float>() + i,
                                    .second = second_.mutable_data_ptr<float>() + i,
                                    .soft = values_.mutable_data_ptr<float>() + i};
    work(part, i);
    i += part.size;
  }
}

int64_t SoftWeight::rows_of_piece() const { return std::max<int64_t>(1, kValues / columns()); }

void SoftWeight::soften(double temperature) {
  parallel_for(0, rows(), rows_of_piece(), [&](int64_t first, int64_t last) {
    for_each_stretch(first, last, [&](const kernels::SoftWeights& part, int64_t) {
      kernels::soften_weights(part, relaxation_, static_cast<float>(temperature));
    });
  });
}

double SoftWeight::step(const at::Tensor& gradient, const kernels::RoundingStep& step) {
  const auto* along = gradient.const_data_ptr<float>();
  return sum_over_pieces(rows(), rows_of_piece(), [&](int64_t first, int64_t last) {
    double regularizer = 0;
    for_each_stretch(first, last, [&](const kernels::SoftWeights& part, int64_t begin) {
      regularizer += kernels::take_rounding_step(part, along + begin, step);
    });
    return regularizer;
  });
}

at::Tensor SoftWeight::upper() const { return variable_.ge(0).to(at::kByte).view(shape_); }

void SoftWeight::choose_nearer(const at::Tensor& best) {
  const auto distance = [&](const at::Tensor& values) { return values.sub(best).abs_(); };
  const at::Tensor all = at::ones_like(variable_, at::kBool);
  const at::Tensor upper = distance(neighbours(all)).le(distance(neighbours(all.logical_not())));
  // Where both neighbours are the same value behind the grid's end, the variable stays.
  const at::Tensor differ = neighbours(all).ne(neighbours(all.logical_not()));
  variable_ = at::where(differ, upper.to(at::kFloat).sub_(0.5), variable_).contiguous();
}

at::Tensor SoftWeight::neighbours(const at::Tensor& upper) const {
  const auto by_channel = [&](const at::Tensor& tensor) {
    return tensor.view({-1, channels_, inner_});
  };
  const at::Tensor scale = scale_.view({1, -1, 1}), zero_point = zero_point_.view({1, -1, 1});
  return at::clamp(by_channel(lower_).add(by_channel(upper)).add_(zero_point), levels_.low,
                   levels_.high)
      .sub_(zero_point)
      .mul_(scale)
      .view(values_.sizes());
}

NamedTensors SoftWeight::state() const {
  return {{"variable", variable_}, {"first", first_}, {"second", second_}};
}

void SoftWeight::set_state(const NamedTensors& state, double temperature) {
  restore(variable_, state, "variable");
  restore(first_, state, "first");
  restore(second_, state, "second");
  soften(temperature);
}

}  // namespace quell

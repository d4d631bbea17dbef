#include "framework/quant/fake_quantize_autograd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>
#include <algorithm>
#include <array>
#include <cmath>

#include "framework/base/error.h"
#include "framework/quant/device.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What a forward pass found, and how.
struct Quantized {
  at::Tensor values;
  QuantParameters parameters;  // as they were used, [channels]
  ScaleMap map;
  at::Tensor factor;  // of the gradients of the parameters, [channels] or [1]
  std::optional<HeadOrder> published = {};
};

// The sum of rows [sequences * length, heads * head size] in float32, in the order of heads.
at::Tensor sum_by_heads(const at::Tensor& rows, const HeadOrder& order) {
  if (order.heads == 0) return rows.sum();
  if (rows.size(0) % order.length != 0 || rows.size(1) % order.heads != 0) {
    throw ConfigError(fmt::format(
        "gradients of a tensor [{}, {}] cannot be added in the order of sequences of {} tokens and "
        "{} heads; calibrate with padding: unobserved and pad_to: {}",
        rows.size(0), rows.size(1), order.length, order.heads, order.length));
  }
  const at::Tensor heads =
      rows.reshape({-1, order.length, order.heads, rows.size(1) / order.heads});
  return heads.permute({0, 2, order.transposed ? 3 : 1, order.transposed ? 1 : 3})
      .contiguous()
      .sum();
}

// Of x, the scale and the zero point, by the published operations: c = clamp(round(x / s) + z),
// y = (c - z) s.
std::array<at::Tensor, 3> published_gradients(const at::Tensor& x, const at::Tensor& dy,
                                              const QuantParameters& parameters,
                                              const HeadOrder& order) {
  const auto& [scale, zero_point, levels] = parameters;
  const at::Tensor quotient = x.div(scale);
  const at::Tensor codes = quotient.round().add(zero_point);
  const at::Tensor inside = codes.ge(levels.low).logical_and_(codes.le(levels.high));
  const at::Tensor dvalues = dy.mul(scale);
  const at::Tensor dcodes = dvalues.mul(inside);
  // The gradient comes from a product of heads; behind the clamp it lies as the values do.
  const at::Tensor dscale =
      sum_by_heads(dy.mul(codes.clamp(levels.low, levels.high).sub(zero_point)), order)
          .add(dcodes.neg().mul(quotient.div(scale)).sum());
  const at::Tensor dzero_point = dcodes.sum().sub(sum_by_heads(dvalues, order));
  return {dcodes.div(scale), dscale.reshape(scale.sizes()), dzero_point.reshape(scale.sizes())};
}

HeadOrder order_of(const std::vector<int64_t>& numbers) {
  return {numbers[0], numbers[1], numbers[2] != 0};
}

// The same in one pass, with sums in double.
std::array<at::Tensor, 3> fused_gradients(const at::Tensor& x, const at::Tensor& dy,
                                          const QuantParameters& parameters,
                                          const std::array<int64_t, 3>& view) {
  const auto& [scale, zero_point, levels] = parameters;
  at::Tensor dx = at::empty_like(x);
  at::Tensor dscale = at::empty_like(scale), dzero_point = at::empty_like(zero_point);
  at::Tensor workspace;
  const kernels::Device device = kernel_device(x, kernels::Reduction::kGradient, view, workspace);
  kernels::fake_quantize_gradient(
      device, x.const_data_ptr<float>(), dy.const_data_ptr<float>(), dx.mutable_data_ptr<float>(),
      view[0], view[1], view[2], scale.const_data_ptr<float>(), zero_point.const_data_ptr<float>(),
      levels, dscale.mutable_data_ptr<float>(), dzero_point.mutable_data_ptr<float>());
  return {dx, dscale, dzero_point};
}

class FakeQuantize final : public torch::autograd::Function<FakeQuantize> {
 public:
  // `scale` and `zero_point` [channels] are those that receive gradients.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& rows,
                            const at::Tensor& /*scale*/, const at::Tensor& /*zero_point*/,
                            const Quantized& quantized) {
    const auto& [values, parameters, map, factor, published] = quantized;
    context->save_for_backward({rows, parameters.scale, parameters.zero_point});
    context->saved_data["view"] = std::vector<int64_t>{map.outer(), map.channels(), map.inner()};
    context->saved_data["levels"] =
        std::vector<double>{parameters.levels.low, parameters.levels.high};
    context->saved_data["factor"] = factor;
    if (published) {
      context->saved_data["published"] =
          std::vector<int64_t>{published->heads, published->length, published->transposed};
    }
    return values;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    auto& numbers = context->saved_data;
    const variable_list saved = context->get_saved_variables();
    const std::vector<double> levels = numbers["levels"].toDoubleVector();
    const at::Tensor x = saved[0].contiguous(), dy = gradients[0].contiguous();
    const std::vector<int64_t> view = numbers["view"].toIntVector();
    const QuantParameters parameters{
        saved[1], saved[2], {static_cast<float>(levels[0]), static_cast<float>(levels[1])}};
    auto [dx, dscale, dzero_point] =
        numbers.count("published") == 0
            ? fused_gradients(x, dy, parameters, {view[0], view[1], view[2]})
            : published_gradients(x, dy, parameters, order_of(numbers["published"].toIntVector()));
    const at::Tensor factor = numbers["factor"].toTensor();
    constexpr const char* kPurpose = "gradients of scales";
    return {dx, on_host(dscale, kPurpose).mul_(factor), on_host(dzero_point, kPurpose).mul_(factor),
            at::Tensor()};
  }
};

// The published gradient scaling, which is not the identity in float32.
float through_gradient_scaling(float value, float factor) {
  const float part = value * factor;
  return (value - part) + part;
}

// One factor is that of all values.
at::Tensor through_gradient_scaling(const at::Tensor& values, const at::Tensor& factors) {
  at::Tensor result = at::empty_like(values);
  const float* from = values.const_data_ptr<float>();
  const float* factor = factors.const_data_ptr<float>();
  float* to = result.mutable_data_ptr<float>();
  const int64_t step = factors.numel() > 1 ? 1 : 0;
  for (int64_t i = 0; i < values.numel(); ++i) {
    to[i] = through_gradient_scaling(from[i], factor[i * step]);
  }
  return result;
}

at::Tensor rounded(const at::Tensor& values) {
  at::Tensor result = at::empty_like(values);
  const float* from = values.const_data_ptr<float>();
  std::transform(from, from + values.numel(), result.mutable_data_ptr<float>(),
                 [](float value) { return std::rint(value); });
  return result;
}

// gradient_factor() for every entry of `values`.
at::Tensor gradient_factors(at::IntArrayRef values, float highest_level) {
  at::Tensor factors = at::empty({std::ssize(values)}, at::kFloat);
  std::transform(values.begin(), values.end(), factors.mutable_data_ptr<float>(),
                 [&](int64_t count) { return gradient_factor(count, highest_level); });
  return factors;
}

}  // namespace

float gradient_factor(int64_t values, float highest_level) {
  const auto product =
      static_cast<double>(std::max<int64_t>(values, 1)) * static_cast<double>(highest_level);
  return static_cast<float>(1 / std::sqrt(product));
}

QuantParameters effective_parameters(const QuantParameters& parameters, const LearningRule& rule,
                                     at::IntArrayRef values) {
  QuantParameters result = parameters;
  if (rule.learned_zero_point) result.zero_point = rounded(result.zero_point);
  if (!rule.gradient_scaling) return result;
  const at::Tensor factors = gradient_factors(values, parameters.levels.high);
  result.scale = through_gradient_scaling(result.scale, factors);
  if (rule.learned_zero_point) {
    result.zero_point = through_gradient_scaling(result.zero_point, factors);
  }
  return result;
}

at::Tensor fake_quantize_learned(const at::Tensor& rows, const QuantParameters& parameters,
                                 const QuantSpec& spec, const LearningRule& rule, bool in_place) {
  const ScaleMap map = ScaleMap::of_parameters(spec, rows.sizes(), parameters.scale.numel());
  const std::vector<int64_t> values = map.values_per_scale();
  QuantParameters used = effective_parameters(parameters, rule, values);
  if (!at::GradMode::is_enabled()) return fake_quantize(rows, used, spec, in_place);
  at::Tensor result, factor = at::ones({1}, at::kFloat);
  {
    const at::NoGradGuard no_gradients;
    result = fake_quantize(rows, used, spec, /*in_place=*/false);
    used.scale = map.expand(used.scale).to(rows.device());
    used.zero_point = map.expand(used.zero_point).to(rows.device());
    if (rule.gradient_scaling) factor = gradient_factors(values, parameters.levels.high);
    if (factor.numel() > 1) factor = map.expand(factor);
  }
  return FakeQuantize::apply(rows, map.expand(parameters.scale), map.expand(parameters.zero_point),
                             Quantized{result, used, map, factor, rule.published});
}

at::Tensor fake_quantize_dynamic_straight_through(const at::Tensor& rows, const QuantSpec& spec,
                                                  bool in_place) {
  if (!at::GradMode::is_enabled()) return fake_quantize_dynamic(rows, spec, in_place);
  QuantParameters used;
  const at::Tensor result = fake_quantize_dynamic(rows, spec, /*in_place=*/false, &used);
  return FakeQuantize::apply(
      rows, used.scale, used.zero_point,
      Quantized{result, used, ScaleMap::make(spec, rows.sizes()), at::ones({1}, at::kFloat)});
}

}  // namespace quell

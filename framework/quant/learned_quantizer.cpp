#include "framework/quant/learned_quantizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <cmath>
#include <limits>

#include "framework/base/error.h"
#include "framework/config/enum_name.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

// Into the tensor that an optimizer may hold, where the number of scales allows it.
void assign(at::Tensor& to, const at::Tensor& from) {
  if (to.defined() && to.sizes() == from.sizes()) {
    to.copy_(from);
  } else {
    to = from.clone();
  }
}

void check_gradients(const LearnedQuantizer::Params& params, const QuantSpec& spec,
                     const std::string& name) {
  if (params.gradients == Gradients::kFused) return;
  if (known_scales(spec) != 1) {
    throw ConfigError(fmt::format(
        "quantizer {}: gradients: published is for granularity tensor, not {}; use fused", name,
        enum_name(spec.granularity)));
  }
  if (params.heads > 0 && params.length == 0) {
    throw ConfigError(fmt::format(
        "quantizer {}: heads: {} needs length, the tokens of each sequence with padding", name,
        params.heads));
  }
}

}  // namespace

LearnedQuantizer::LearnedQuantizer(const Params& params, const QuantSpec& spec, Learns learns,
                                   const std::string& name)
    : Quantizer(spec),
      params_(params),
      learns_range_(learns == Learns::kRange),
      learns_zero_point_(learns == Learns::kScaleAndZeroPoint ||
                         (learns_range_ && !spec.symmetric)) {
  check_gradients(params, spec, name);
  if (!spec.is_dynamic()) return;
  throw ConfigError(
      fmt::format("quantizer {} learns scales, but with granularity {} every row of an activation "
                  "has its own and there is nothing to learn; use granularity tensor or channel, "
                  "or quantizer fixed",
                  name, enum_name(spec.granularity)));
}

void LearnedQuantizer::init(const Range& range) {
  const at::NoGradGuard no_gradients;
  QuantParameters parameters = parameters_from_range(range, spec());
  if (learns_range_ && learns_zero_point_) {
    parameters.zero_point =
        range.min.clamp_max(0).div(parameters.scale).neg_().add_(parameters.levels.low);
  }
  set_parameters(parameters);
}

void LearnedQuantizer::set_parameters(const QuantParameters& parameters) {
  const at::NoGradGuard no_gradients;
  assign(scale_, parameters.scale);
  assign(zero_point_, parameters.zero_point);
  if (params_.log_domain) assign(log_scale_, at::zeros_like(scale_));
  levels_ = parameters.levels;
  constrain();
}

at::Tensor LearnedQuantizer::scale() const {
  return params_.log_domain ? scale_.mul(log_scale_.exp()) : scale_;
}

QuantParameters LearnedQuantizer::parameters() const {
  if (!scale_.defined()) return {};
  const at::NoGradGuard no_gradients;
  return {scale().clone(), learns_zero_point_ ? zero_point_.round() : zero_point_.clone(), levels_};
}

LearningRule LearnedQuantizer::rule() const {
  LearningRule rule{params_.gradient_scaling, learns_zero_point_};
  if (params_.gradients == Gradients::kPublished) {
    rule.published = HeadOrder{params_.heads, params_.length, params_.transposed};
  }
  return rule;
}

at::Tensor LearnedQuantizer::apply(const at::Tensor& rows, bool in_place) const {
  QUELL_ASSERT(scale_.defined(), "apply() before init()");
  return fake_quantize_learned(rows, {scale(), zero_point_, levels_}, spec(), rule(), in_place);
}

IntegerCodes LearnedQuantizer::codes(const at::Tensor& rows) const {
  QUELL_ASSERT(scale_.defined(), "codes() before init()");
  const at::NoGradGuard no_gradients;
  const ScaleMap map = ScaleMap::of_parameters(spec(), rows.sizes(), scale_.numel());
  const QuantParameters used =
      effective_parameters({scale(), zero_point_, levels_}, rule(), map.values_per_scale());
  return integer_codes(rows, used, spec());
}

NamedTensors LearnedQuantizer::state() const {
  if (!scale_.defined()) return {};
  NamedTensors state{{"scale", scale_.detach().clone()},
                     {"zero_point", zero_point_.detach().clone()}};
  if (params_.log_domain && log_scale_.any().item<bool>()) {
    state["log_scale"] = log_scale_.detach().clone();
  }
  store_levels(levels_, state);
  return state;
}

void LearnedQuantizer::set_state(const NamedTensors& state) {
  const at::NoGradGuard no_gradients;
  const auto take = [](const char* name, const at::Tensor& from, at::Tensor& to) {
    if (to.defined() && to.sizes() != from.sizes()) {
      throw DataError(fmt::format("{} values were stored as \"{}\" of a quantizer that has {}",
                                  from.numel(), name, to.numel()));
    }
    assign(to, from);
  };
  const at::Tensor& scale = stored_tensor(state, "scale");
  take("scale", scale, scale_);
  take("zero_point", stored_tensor(state, "zero_point"), zero_point_);
  if (params_.log_domain) {
    const auto stored = state.find("log_scale");
    take("log_scale", stored == state.end() ? at::zeros_like(scale) : stored->second, log_scale_);
  }
  levels_ = stored_levels(state);
}

std::vector<LearnableTensor> LearnedQuantizer::learnable() {
  if (!scale_.defined()) return {};
  std::vector<LearnableTensor> result;
  result.push_back(params_.log_domain ? LearnableTensor{"log_scale", log_scale_}
                                      : LearnableTensor{"scale", scale_});
  if (learns_zero_point_) result.push_back({"zero_point", zero_point_});
  return result;
}

void LearnedQuantizer::constrain() {
  if (!scale_.defined()) return;
  const at::NoGradGuard no_gradients;
  if (params_.log_domain) {
    scale_.mul_(log_scale_.exp());
    log_scale_.zero_();
  }
  if (learns_range_) return constrain_range();
  scale_.abs_().clamp_min_(std::numeric_limits<float>::epsilon());
  if (learns_zero_point_) zero_point_.clamp_(levels_.low, levels_.high);
}

// As published in the forward pass, where what is cut off has no gradient any more.
void LearnedQuantizer::constrain_range() {
  constexpr double kSmallest = 1e-8;
  constexpr float kHalf = 0.5F;  // rounded down at the lower end, and up at the other
  scale_.clamp_min_(kSmallest);
  if (!learns_zero_point_) return;
  zero_point_.clamp_(levels_.low - kHalf, std::nextafter(levels_.high + kHalf, levels_.high));
}

}  // namespace quell

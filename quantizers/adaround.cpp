// AdaRound: a grid from the observed range, on which each value of a weight may take either of its
// two neighbours. The solver `adaround` decides which.

#include <ATen/core/grad_mode.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/floor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/quant/fake_quantize_autograd.h"
#include "framework/quant/quantizer.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

constexpr const char* kRounding = "rounding";

class AdaRound final : public Quantizer {
 public:
  AdaRound(const NoParams&, const QuantSpec& spec) : Quantizer(spec) {
    if (spec.is_weight) return;
    throw ConfigError(
        "adaround: rounding can be chosen for weights alone, since an activation has new values in "
        "every batch; use `quantizer: fixed` for activations");
  }

  void init(const Range& range) override { set_parameters(parameters_from_range(range, spec())); }
  void set_parameters(const QuantParameters& parameters) override {
    parameters_ = parameters;
    upper_ = at::Tensor();
  }
  QuantParameters parameters() const override { return parameters_; }

  at::Tensor apply(const at::Tensor& rows, bool in_place) const override;
  IntegerCodes codes(const at::Tensor& rows) const override;
  NamedTensors state() const override;
  void set_state(const NamedTensors& state) override;

  bool holds_rounding() const override { return true; }
  void set_rounding(const at::Tensor& upper) override;

 private:
  QuantParameters parameters_;
  at::Tensor upper_;  // uint8
};

at::Tensor AdaRound::apply(const at::Tensor& rows, bool in_place) const {
  QUELL_ASSERT(parameters_.scale.defined(), "apply() before init()");
  if (!upper_.defined()) {
    return fake_quantize_learned(rows, parameters_, spec(), LearningRule{}, in_place);
  }
  if (rows.sizes() != upper_.sizes()) {
    throw DataError(fmt::format(
        "adaround: a weight [{}] has the rounding of another one [{}]; learn its rounding",
        fmt::join(rows.sizes(), ", "), fmt::join(upper_.sizes(), ", ")));
  }
  const ScaleMap map = ScaleMap::of_parameters(spec(), rows.sizes(), parameters_.scale.numel());
  const at::Tensor scale = map.expand(parameters_.scale).to(rows.device()).view({1, -1, 1});
  const at::Tensor zero_point =
      map.expand(parameters_.zero_point).to(rows.device()).view({1, -1, 1});
  const auto [low, high] = parameters_.levels;
  const at::Tensor values = rows.detach().contiguous().view({map.outer(), map.channels(), -1});
  const at::Tensor chosen = at::floor(values.div(scale))
                                .add_(upper_.to(rows.device()).view(values.sizes()))
                                .add_(zero_point);
  const at::Tensor result =
      at::clamp(chosen, low, high).sub_(zero_point).mul_(scale).view(rows.sizes());
  if (!at::GradMode::is_enabled() || !rows.requires_grad()) return result;
  // Straight through the rounding, inside of the grid: rows - rows is 0.
  const at::Tensor inside = chosen.ge(low).logical_and_(chosen.le(high)).view(rows.sizes());
  const at::Tensor passed = rows.mul(inside);
  return passed.sub(passed.detach()).add(result);
}

IntegerCodes AdaRound::codes(const at::Tensor& rows) const {
  // Values on the grid have the codes that they were made of.
  return integer_codes(upper_.defined() ? apply(rows, /*in_place=*/false) : rows, parameters_,
                       spec());
}

NamedTensors AdaRound::state() const {
  NamedTensors state = Quantizer::state();
  if (upper_.defined()) state[kRounding] = upper_;
  return state;
}

void AdaRound::set_state(const NamedTensors& state) {
  Quantizer::set_state(state);
  const auto found = state.find(kRounding);
  if (found != state.end()) set_rounding(found->second);
}

void AdaRound::set_rounding(const at::Tensor& upper) {
  if (upper.scalar_type() != at::kByte) {
    throw DataError("the stored rounding of a weight is not of type uint8");
  }
  upper_ = upper.contiguous();
}

}  // namespace

void register_quantizer_adaround(Plugins& plugins) {
  add_plugin<AdaRound, NoParams>(
      plugins.quantizers, "adaround",
      "Weights on the observed range's grid, rounded as the solver `adaround` learns it; before "
      "that to the nearest.",
      "Qualcomm AdaRoundQuantizer; AdaRound, Nagel et al. 2020");
}

}  // namespace quell

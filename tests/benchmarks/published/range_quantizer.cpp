#include "tests/benchmarks/published/range_quantizer.h"

#include <ATen/ATen.h>
#include <cmath>

namespace quell::published {
namespace {

constexpr double kSmallest = 1e-8;

// [batch, length, features] -> [features, values of each].
at::Tensor by_feature(const at::Tensor& x) { return x.transpose(2, 0).contiguous().flatten(1); }

}  // namespace

void RangeQuantizer::set_range(const at::Tensor& min, const at::Tensor& max) {
  const at::Tensor low = at::minimum(min, at::zeros_like(min));
  const at::Tensor high = at::maximum(max, at::ones_like(max) * kSmallest);
  if (symmetric_) {
    const bool is_signed = (low < 0).any().item<bool>();
    low_ = is_signed ? -std::exp2(static_cast<double>(bits_ - 1)) : 0;
    high_ = std::exp2(static_cast<double>(is_signed ? bits_ - 1 : bits_)) - 1;
    scale_ = at::clamp_min(at::maximum(low.abs(), high) / high_, kSmallest);
    zero_point_ = at::zeros_like(scale_);
    return;
  }
  low_ = 0;
  high_ = std::exp2(static_cast<double>(bits_)) - 1;
  const at::Tensor delta = (high - low) / high_;
  zero_point_ = at::clamp(at::round(-low / delta), low_, high_);
  scale_ = at::clamp_min(delta, kSmallest);
}

void RangeQuantizer::estimate(const at::Tensor& x) {
  if (groups == 0) {
    set_range(x.min().detach().reshape({1}), x.max().detach().reshape({1}));
    return;
  }
  at::Tensor values = by_feature(x);
  const int64_t features = values.size(0);
  if (order_.defined()) values = values.index_select(0, order_);
  values = values.view({groups, -1});
  at::Tensor min = std::get<0>(values.min(-1)), max = std::get<0>(values.max(-1));
  min = min.repeat_interleave(features / groups).detach();
  max = max.repeat_interleave(features / groups).detach();
  if (order_.defined()) {
    const at::Tensor back = at::argsort(order_);
    min = at::gather(min, 0, back);
    max = at::gather(max, 0, back);
  }
  set_range(min, max);
}

at::Tensor RangeQuantizer::quantize(const at::Tensor& x) const {
  const at::Tensor codes = at::clamp(at::round(x / scale_) + zero_point_, low_, high_);
  return scale_ * (codes - zero_point_);
}

at::Tensor RangeQuantizer::apply(const at::Tensor& x) {
  switch (state) {
    case RangeState::kOff:
      return x;
    case RangeState::kRemember:
      values_ = x;
      return x;
    case RangeState::kFeatures: {
      const at::Tensor values = by_feature(x);
      const at::Tensor min = std::get<0>(values.min(-1)).detach();
      const at::Tensor max = std::get<0>(values.max(-1)).detach();
      feature_ranges_ = max - min;
      return x;
    }
    case RangeState::kEstimate:
      estimate(x);
      return quantize(x);
  }
  return x;
}

at::Tensor RangeQuantizer::apply_range(const at::Tensor& x, double min, double max) {
  set_range(at::full({1}, min, at::kFloat), at::full({1}, max, at::kFloat));
  return quantize(x);
}

void RangeQuantizer::order_features() { order_ = at::argsort(feature_ranges_); }

}  // namespace quell::published

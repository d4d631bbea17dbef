#include "framework/quant/spec.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <fmt/format.h>

#include "framework/base/error.h"
#include "framework/kernels/fake_quantize.h"
#include "framework/kernels/min_max.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

at::Tensor contiguous_float(const at::Tensor& rows) {
  QUELL_ASSERT(rows.scalar_type() == at::kFloat, "sites carry float32");
  return rows.contiguous();
}

void check_group_size(int64_t features, int64_t group_size) {
  if (group_size < 1 || features % group_size != 0) {
    throw ConfigError(
        fmt::format("group_size {} does not divide the {} features of the site; choose "
                    "a divisor",
                    group_size, features));
  }
}

at::Tensor scales(int64_t count) { return at::empty({count}, at::kFloat); }

}  // namespace

ChannelView channel_view(const at::Tensor& rows, const QuantSpec& spec) {
  const int64_t count = rows.size(0);
  const int64_t features = rows.dim() > 1 ? rows.size(1) : 1;
  switch (spec.granularity) {
    case Granularity::kTensor:
      return {1, 1, rows.numel()};
    case Granularity::kChannel:
      if (spec.axis == 0) return {1, count, features};
      if (spec.axis == 1 && rows.dim() > 1) return {count, features, 1};
      throw ConfigError(fmt::format("axis {} does not exist in a tensor of {} dimensions",
                                    spec.axis, rows.dim()));
    case Granularity::kGroup:
      check_group_size(features, spec.group_size);
      return {1, rows.numel() / spec.group_size, spec.group_size};
    case Granularity::kToken:
      return {1, count, features};
  }
  QUELL_ASSERT(false, "unhandled granularity");
}

Range min_max(const at::Tensor& rows, const QuantSpec& spec) {
  const at::Tensor values = contiguous_float(rows);
  const ChannelView view = channel_view(values, spec);
  Range range{scales(view.channels), scales(view.channels)};
  float* min = range.min.mutable_data_ptr<float>();
  float* max = range.max.mutable_data_ptr<float>();
  const float* x = values.const_data_ptr<float>();
  if (view.channels == 1) {
    const kernels::MinMax result = kernels::min_max_tensor(x, values.numel(), parallel_for);
    *min = result.min;
    *max = result.max;
  } else {
    kernels::min_max_channels(x, view.outer, view.channels, view.inner, min, max, parallel_for);
  }
  return range;
}

QuantParameters parameters_from_range(const Range& range, const QuantSpec& spec) {
  const int64_t count = range.min.numel();
  const float* min = range.min.const_data_ptr<float>();
  const float* max = range.max.const_data_ptr<float>();
  bool signed_range = false;
  for (int64_t i = 0; i < count; ++i) signed_range |= min[i] < 0;
  const kernels::AffineRule rule =
      kernels::affine_rule(spec.grid, static_cast<int>(spec.bits), spec.symmetric, signed_range);
  QuantParameters parameters{scales(count), scales(count), rule.levels};
  float* scale = parameters.scale.mutable_data_ptr<float>();
  float* zero_point = parameters.zero_point.mutable_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    const kernels::ScaleZeroPoint result = kernels::scale_zero_point(rule, min[i], max[i]);
    scale[i] = result.scale;
    zero_point[i] = result.zero_point;
  }
  return parameters;
}

at::Tensor fake_quantize(const at::Tensor& rows, const QuantParameters& parameters,
                         const QuantSpec& spec, bool in_place) {
  const at::Tensor values = contiguous_float(rows);
  at::Tensor result = in_place ? values : at::empty_like(values);
  const float* x = values.const_data_ptr<float>();
  float* y = result.mutable_data_ptr<float>();
  const float* scale = parameters.scale.const_data_ptr<float>();
  const float* zero_point = parameters.zero_point.const_data_ptr<float>();
  if (parameters.scale.numel() == 1) {
    kernels::fake_quantize_tensor(x, y, values.numel(), *scale, *zero_point, parameters.levels,
                                  parallel_for);
    return result;
  }
  const ChannelView view = channel_view(values, spec);
  if (view.channels != parameters.scale.numel()) {
    throw DataError(
        fmt::format("a calibration has {} scales for a site of {} channels; it belongs "
                    "to another granularity or model",
                    parameters.scale.numel(), view.channels));
  }
  kernels::fake_quantize_channels(x, y, view.outer, view.channels, view.inner, scale, zero_point,
                                  parameters.levels, parallel_for);
  return result;
}

at::Tensor fake_quantize_dynamic(const at::Tensor& rows, const QuantSpec& spec, bool in_place,
                                 QuantParameters* used) {
  const at::Tensor values = contiguous_float(rows);
  at::Tensor result = in_place ? values : at::empty_like(values);
  const int64_t features = values.size(-1);
  const int64_t group = spec.granularity == Granularity::kGroup ? spec.group_size : features;
  check_group_size(features, group);
  const kernels::AffineRule rule =
      kernels::affine_rule(spec.grid, static_cast<int>(spec.bits), spec.symmetric);
  float *scale = nullptr, *zero_point = nullptr;
  if (used != nullptr) {
    const int64_t groups = values.numel() / group;
    *used = {scales(groups), scales(groups), rule.levels};
    scale = used->scale.mutable_data_ptr<float>();
    zero_point = used->zero_point.mutable_data_ptr<float>();
  }
  kernels::fake_quantize_groups_dynamic(values.const_data_ptr<float>(),
                                        result.mutable_data_ptr<float>(), values.numel() / features,
                                        features, group, rule, scale, zero_point, parallel_for);
  return result;
}

}  // namespace quell

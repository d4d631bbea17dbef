#include "framework/quant/spec.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>

#include "framework/base/error.h"
#include "framework/quant/device.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

at::Tensor contiguous_float(const at::Tensor& rows) {
  QUELL_ASSERT(rows.scalar_type() == at::kFloat, "sites carry float32");
  return rows.contiguous();
}

at::Tensor scales(int64_t count, at::Device device = at::kCPU) {
  return at::empty({count}, at::device(device).dtype(at::kFloat));
}

}  // namespace

Range ranges_on_host(const Range& range) {
  constexpr const char* kPurpose = "ranges";
  return {on_host(range.min, kPurpose), on_host(range.max, kPurpose)};
}

Range min_max(const at::Tensor& rows, const QuantSpec& spec) {
  const at::Tensor values = contiguous_float(rows);
  const ScaleMap map = ScaleMap::make(spec, values.sizes());
  const float* x = values.const_data_ptr<float>();
  at::Tensor workspace;
  const kernels::Device device = kernel_device(
      values, kernels::Reduction::kRange, {map.outer(), map.channels(), map.inner()}, workspace);
  const int64_t count = map.scales() == 1 ? 1 : map.channels();
  const Range range{scales(count, values.device()), scales(count, values.device())};
  float* min = range.min.mutable_data_ptr<float>();
  float* max = range.max.mutable_data_ptr<float>();
  if (map.scales() == 1) {
    kernels::min_max_tensor(device, x, values.numel(), min, max);
    return ranges_on_host(range);
  }
  kernels::min_max_channels(device, x, map.outer(), map.channels(), map.inner(), min, max);
  return map.reduce(ranges_on_host(range));
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
  const ScaleMap map = ScaleMap::of_parameters(spec, values.sizes(), parameters.scale.numel());
  const at::Tensor scale = on_device(map.expand(parameters.scale), values.device());
  const at::Tensor zero_point = on_device(map.expand(parameters.zero_point), values.device());
  kernels::fake_quantize_channels(kernel_device(values), x, y, map.outer(), map.channels(),
                                  map.inner(), scale.const_data_ptr<float>(),
                                  zero_point.const_data_ptr<float>(), parameters.levels);
  return result;
}

at::Tensor fake_quantize_dynamic(const at::Tensor& rows, const QuantSpec& spec, bool in_place,
                                 QuantParameters* used) {
  const at::Tensor values = contiguous_float(rows);
  at::Tensor result = in_place ? values : at::empty_like(values);
  const ScaleMap map = ScaleMap::make(spec, values.sizes());
  const kernels::AffineRule rule =
      kernels::affine_rule(spec.grid, static_cast<int>(spec.bits), spec.symmetric);
  float *scale = nullptr, *zero_point = nullptr;
  if (used != nullptr) {
    *used = {scales(map.channels(), values.device()), scales(map.channels(), values.device()),
             rule.levels};
    scale = used->scale.mutable_data_ptr<float>();
    zero_point = used->zero_point.mutable_data_ptr<float>();
  }
  kernels::fake_quantize_rows_dynamic(kernel_device(values), values.const_data_ptr<float>(),
                                      result.mutable_data_ptr<float>(), map.channels(), map.inner(),
                                      rule, scale, zero_point);
  return result;
}

}  // namespace quell

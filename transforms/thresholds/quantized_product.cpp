#include "transforms/thresholds/quantized_product.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include "framework/base/error.h"
#include "framework/quant/codes.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

// Codes of the other signedness, on a grid that lies 128 higher or lower.
constexpr int64_t kSign = 128;
constexpr const char* kSearch = "threshold searches";

at::Tensor with_other_sign(const at::Tensor& codes, at::ScalarType type) {
  return codes.view(at::kByte).bitwise_xor(kSign).view(type);
}

// Each row of a weight has its own scales.
bool by_row(const QuantSpec& spec) {
  return spec.granularity == Granularity::kGroup ||
         (spec.granularity == Granularity::kChannel && spec.axis == 0);
}

}  // namespace

bool multiplies_codes(const QuantSpec* rows, const QuantSpec* weight, int64_t inputs) {
  constexpr int64_t kMostBits = 8;
  if (rows == nullptr || weight == nullptr) return false;
  const bool one_scale_per_row =
      rows->granularity == Granularity::kTensor || rows->granularity == Granularity::kToken;
  const bool one_scale_per_output =
      weight->granularity == Granularity::kTensor ||
      (weight->granularity == Granularity::kChannel && weight->axis == 0);
  return one_scale_per_row && one_scale_per_output && rows->bits <= kMostBits &&
         weight->bits <= kMostBits && inputs <= kernels::IntegerWeight::kMostInputs;
}

QuantizedRows::QuantizedRows(const at::Tensor& rows) : values_(on_host(rows, kSearch)) {}

QuantizedRows::QuantizedRows(at::Tensor rows, const QuantSpec& spec, const Range& range,
                             bool as_codes) {
  QuantParameters parameters;
  if (!spec.is_dynamic()) parameters = parameters_from_range(range, spec);
  if (!as_codes) {
    values_ = spec.is_dynamic() ? fake_quantize_dynamic(rows, spec, /*in_place=*/true)
                                : fake_quantize(rows, parameters, spec, /*in_place=*/true);
    return;
  }
  const IntegerCodes found = integer_codes(rows, parameters, spec);
  scale_ = found.parameters.scale;
  const bool is_signed = found.codes.scalar_type() == at::kChar;
  codes_ = is_signed ? with_other_sign(found.codes, at::kByte) : found.codes;
  zero_point_ = is_signed ? found.parameters.zero_point.add(static_cast<double>(kSign))
                          : found.parameters.zero_point;
}

kernels::IntegerRows QuantizedRows::codes() const {
  return {codes_.const_data_ptr<uint8_t>(), codes_.size(0), scale_.const_data_ptr<float>(),
          zero_point_.const_data_ptr<float>(), scale_.numel() > 1};
}

QuantizedWeight::QuantizedWeight(const at::Tensor& values, const QuantSpec* spec,
                                 const Range& features, bool as_codes) {
  QuantParameters parameters;
  if (spec != nullptr) {
    const Range range = by_row(*spec) ? min_max(values, *spec)
                                      : min_max(at::stack({features.min, features.max}), *spec);
    parameters = parameters_from_range(range, *spec);
  }
  const int64_t outputs = values.size(0), inputs = values.size(1);
  if (!as_codes) {
    const at::Tensor used = spec == nullptr
                                ? values.contiguous()
                                : fake_quantize(values, parameters, *spec, /*in_place=*/false);
    floats_ = std::make_shared<const kernels::PackedWeight>(used.const_data_ptr<float>(), outputs,
                                                            inputs);
    return;
  }
  const IntegerCodes found = integer_codes(values, parameters, *spec);
  const bool is_signed = found.codes.scalar_type() == at::kChar;
  const at::Tensor codes = is_signed ? found.codes : with_other_sign(found.codes, at::kChar);
  const at::Tensor scale = found.parameters.scale.expand({outputs}).contiguous();
  const at::Tensor zero_point = found.parameters.zero_point.sub(is_signed ? 0 : kSign)
                                    .to(at::kInt)
                                    .expand({outputs})
                                    .contiguous();
  constexpr int32_t kMostCode = 255;
  codes_ = std::make_shared<const kernels::IntegerWeight>(
      kernels::IntegerMatrix{codes.const_data_ptr<int8_t>(), outputs, inputs,
                             scale.const_data_ptr<float>(), zero_point.const_data_ptr<int32_t>()},
      kMostCode);
}

at::Tensor QuantizedWeight::product(const QuantizedRows& rows) const {
  QUELL_ASSERT(rows.are_codes() == are_codes(), "rows and weight are both codes, or neither");
  const at::Tensor result = at::empty({rows.size(), outputs()}, at::kFloat);
  float* y = result.mutable_data_ptr<float>();
  if (are_codes()) {
    kernels::integer_product(rows.codes(), *codes_, {}, {.y = y});
  } else {
    const at::Tensor values = rows.values().contiguous();
    kernels::packed_product(values.const_data_ptr<float>(), values.size(0), *floats_, {}, y);
  }
  return result;
}

}  // namespace quell

#include "transforms/thresholds/quantized_product.h"

#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/stack.h>

#include "framework/base/error.h"
#include "framework/kernels/scaled_codes.h"
#include "framework/quant/codes.h"
#include "framework/quant/device.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

// Codes of the other signedness lie on a grid that is 128 higher or lower.
constexpr int kSign = 128;
constexpr const char* kSearch = "threshold searches";

struct CodeGrid {
  at::Tensor scale, zero_point;
  kernels::Levels levels;
};

CodeGrid with_sign(const QuantParameters& parameters, bool is_signed) {
  if ((parameters.levels.low < 0) == is_signed) {
    return {parameters.scale, parameters.zero_point, parameters.levels};
  }
  const float by = is_signed ? -kSign : kSign;
  return {parameters.scale,
          parameters.zero_point.add(by),
          {parameters.levels.low + by, parameters.levels.high + by}};
}

// Each row of a weight has its own scales.
bool by_row(const QuantSpec& spec) {
  return spec.granularity == Granularity::kGroup ||
         (spec.granularity == Granularity::kChannel && spec.axis == 0);
}

// The extremes of features times `factor`, as those of two rows.
Range scaled_range(const Range& features, const at::Tensor& factor, const QuantSpec& spec) {
  return min_max(at::stack({at::mul(features.min, factor), at::mul(features.max, factor)}), spec);
}

[[noreturn]] void fail_at_nan() { throw DataError("a value is NaN, which has no integer code"); }

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

QuantizedRows::QuantizedRows(const at::Tensor& rows, const at::Tensor& divisor,
                             const QuantSpec& spec, const Range& range, bool as_codes) {
  const at::Tensor values = on_host(rows, kSearch).contiguous();
  if (!as_codes) {
    const at::Tensor divided = at::div(values, divisor);
    values_ = spec.is_dynamic() ? fake_quantize_dynamic(divided, spec, /*in_place=*/true)
                                : fake_quantize(divided, parameters_from_range(range, spec), spec,
                                                /*in_place=*/true);
    return;
  }
  if (spec.is_dynamic()) {
    const IntegerCodes found = integer_codes(at::div(values, divisor), {}, spec);
    const CodeGrid grid = with_sign(found.parameters, /*is_signed=*/false);
    const bool is_signed = found.codes.scalar_type() == at::kChar;
    codes_ = is_signed ? found.codes.view(at::kByte).bitwise_xor(int64_t{kSign}) : found.codes;
    scale_ = grid.scale;
    zero_point_ = grid.zero_point;
    return;
  }
  const CodeGrid grid = with_sign(parameters_from_range(range, spec), /*is_signed=*/false);
  scale_ = grid.scale;
  zero_point_ = grid.zero_point;
  codes_ = at::empty(values.sizes(), at::kByte);
  if (!kernels::quantize_divided_codes(
          values.const_data_ptr<float>(), divisor.contiguous().const_data_ptr<float>(),
          values.size(0), values.size(1), {scale_.item<float>(), zero_point_.item<float>()},
          grid.levels, codes_.mutable_data_ptr<uint8_t>())) {
    fail_at_nan();
  }
}

kernels::IntegerRows QuantizedRows::codes() const {
  return {codes_.const_data_ptr<uint8_t>(), codes_.size(0), scale_.const_data_ptr<float>(),
          zero_point_.const_data_ptr<float>(), scale_.numel() > 1};
}

QuantizedWeight::QuantizedWeight(const at::Tensor& values) { pack(values.contiguous()); }

void QuantizedWeight::pack(const at::Tensor& values) {
  floats_ = std::make_shared<const kernels::PackedWeight>(values.const_data_ptr<float>(),
                                                          values.size(0), values.size(1));
}

QuantizedWeight::QuantizedWeight(const at::Tensor& values, const at::Tensor& factor,
                                 const QuantSpec* spec, const Range& features, bool as_codes) {
  if (as_codes) {
    pack_codes(values.contiguous(), factor.contiguous(), *spec, features);
    return;
  }
  at::Tensor scaled = at::mul(values, factor);
  if (spec != nullptr) {
    const Range range =
        by_row(*spec) ? min_max(scaled, *spec) : scaled_range(features, factor, *spec);
    scaled = fake_quantize(scaled, parameters_from_range(range, *spec), *spec, /*in_place=*/true);
  }
  pack(scaled);
}

void QuantizedWeight::pack_codes(const at::Tensor& values, const at::Tensor& factor,
                                 const QuantSpec& spec, const Range& features) {
  const int64_t outputs = values.size(0), inputs = values.size(1);
  const float *x = values.const_data_ptr<float>(), *by = factor.const_data_ptr<float>();
  Range range;
  if (by_row(spec)) {
    range = {at::empty({outputs}), at::empty({outputs})};
    kernels::min_max_multiplied_rows(x, by, outputs, inputs, range.min.mutable_data_ptr<float>(),
                                     range.max.mutable_data_ptr<float>(), parallel_for);
  } else {
    range = scaled_range(features, factor, spec);
  }
  const CodeGrid grid = with_sign(parameters_from_range(range, spec), /*is_signed=*/true);
  const at::Tensor scale = grid.scale.expand({outputs}).contiguous();
  const at::Tensor zero_point = grid.zero_point.expand({outputs}).contiguous();
  const at::Tensor codes = at::empty({outputs, inputs}, at::kChar);
  if (!kernels::quantize_multiplied_codes(x, by, outputs, inputs, scale.const_data_ptr<float>(),
                                          zero_point.const_data_ptr<float>(), grid.levels,
                                          codes.mutable_data_ptr<int8_t>(), parallel_for)) {
    fail_at_nan();
  }
  constexpr int32_t kMostCode = 255;
  codes_ = std::make_shared<const kernels::IntegerWeight>(
      kernels::IntegerMatrix{codes.const_data_ptr<int8_t>(), outputs, inputs,
                             scale.const_data_ptr<float>(),
                             zero_point.to(at::kInt).const_data_ptr<int32_t>()},
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

#include "framework/quant/codes.h"

#include <ATen/ops/empty.h>

#include "framework/base/error.h"
#include "framework/kernels/quantize_codes.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

at::ScalarType scalar_type(kernels::CodeType type) {
  switch (type) {
    case kernels::CodeType::kInt8:
      return at::kChar;
    case kernels::CodeType::kUint8:
      return at::kByte;
    case kernels::CodeType::kInt16:
      return at::kShort;
    case kernels::CodeType::kUint16:
      return at::kUInt16;
  }
  QUELL_ASSERT(false, "unhandled type of codes");
}

}  // namespace

IntegerCodes integer_codes(const at::Tensor& rows, const QuantParameters& parameters,
                           const QuantSpec& spec) {
  QUELL_ASSERT(rows.scalar_type() == at::kFloat, "sites carry float32");
  const at::Tensor values = rows.contiguous();
  const float* x = values.const_data_ptr<float>();
  const ChannelView view = channel_view(values, spec);
  IntegerCodes result{{}, parameters};
  const kernels::AffineRule rule =
      kernels::affine_rule(spec.grid, static_cast<int>(spec.bits), spec.symmetric);
  if (spec.is_dynamic()) {
    result.parameters = {at::empty({view.channels}, at::kFloat),
                         at::empty({view.channels}, at::kFloat), rule.levels};
  }
  auto& [scale, zero_point, levels] = result.parameters;
  const kernels::CodeType type = kernels::code_type(levels);
  result.codes = at::empty(values.sizes(), scalar_type(type));
  const kernels::Codes codes{result.codes.mutable_data_ptr(), type};
  const bool complete =
      spec.is_dynamic()
          ? kernels::quantize_codes_rows_dynamic(
                x, codes, view.channels, view.inner, rule, scale.mutable_data_ptr<float>(),
                zero_point.mutable_data_ptr<float>(), nullptr, parallel_for)
          : kernels::quantize_codes_channels(
                x, codes, view.outer, view.channels, view.inner, scale.const_data_ptr<float>(),
                zero_point.const_data_ptr<float>(), levels, nullptr, parallel_for);
  if (!complete) throw DataError("a value is NaN, which has no integer code");
  if (type == kernels::CodeType::kUint16) result.codes = result.codes.to(at::kInt);
  return result;
}

}  // namespace quell

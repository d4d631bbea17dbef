#include "framework/quant/codes.h"

#include <ATen/ops/empty.h>

#include "framework/base/error.h"
#include "framework/quant/device.h"
#include "framework/quant/scale_map.h"

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

// Memory of the shape of `values` that `quantize` fills; it says whether every value has a code.
template <class Quantize>
at::Tensor codes_of(const at::Tensor& values, kernels::Levels levels, const Quantize& quantize) {
  const kernels::CodeType type = kernels::code_type(levels);
  const at::Tensor codes = at::empty(values.sizes(), scalar_type(type));
  if (!quantize(kernels::Codes{codes.mutable_data_ptr(), type})) {
    throw DataError("a value is NaN, which has no integer code");
  }
  return type == kernels::CodeType::kUint16 ? codes.to(at::kInt) : codes;
}

}  // namespace

IntegerCodes integer_codes(const at::Tensor& rows, const QuantParameters& parameters,
                           const QuantSpec& spec) {
  QUELL_ASSERT(rows.scalar_type() == at::kFloat, "sites carry float32");
  const at::Tensor values = on_host(rows, "integer codes").contiguous();
  const float* x = values.const_data_ptr<float>();
  IntegerCodes result{{}, parameters};
  if (spec.is_dynamic()) {
    const ScaleMap map = ScaleMap::make(spec, values.sizes());
    const kernels::AffineRule rule =
        kernels::affine_rule(spec.grid, static_cast<int>(spec.bits), spec.symmetric);
    const at::Tensor scale = at::empty({map.channels()}, at::kFloat);
    const at::Tensor zero_point = at::empty({map.channels()}, at::kFloat);
    result.parameters = {scale, zero_point, rule.levels};
    result.codes = codes_of(values, rule.levels, [&](const kernels::Codes& codes) {
      return kernels::quantize_codes_rows_dynamic(
          kernel_device(values), x, codes, map.channels(), map.inner(), rule,
          scale.mutable_data_ptr<float>(), zero_point.mutable_data_ptr<float>(), nullptr);
    });
    return result;
  }
  const ScaleMap map = ScaleMap::of_parameters(spec, values.sizes(), parameters.scale.numel());
  const at::Tensor scale = map.expand(parameters.scale);
  const at::Tensor zero_point = map.expand(parameters.zero_point);
  result.codes = codes_of(values, parameters.levels, [&](const kernels::Codes& codes) {
    return kernels::quantize_codes_channels(
        kernel_device(values), x, codes, map.outer(), map.channels(), map.inner(),
        scale.const_data_ptr<float>(), zero_point.const_data_ptr<float>(), parameters.levels,
        nullptr);
  });
  return result;
}

}  // namespace quell

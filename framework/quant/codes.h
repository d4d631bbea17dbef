// The integer codes of quantized values, as integer hardware holds them.
#pragma once

#include <ATen/core/Tensor.h>

#include "framework/quant/spec.h"

namespace quell {

struct IntegerCodes {
  at::Tensor codes;  // of the shape of the rows; int8 or uint8 up to 8 bits, else int16 or int32
  QuantParameters parameters;  // as used; dynamic granularities: [rows * groups of each]
};

// (codes - zero_point) * scale are the bits of fake_quantize() and fake_quantize_dynamic() on
// `rows` [n, features]. `parameters` is not read for dynamic granularities. Throws DataError where
// a value is NaN, which has no code.
IntegerCodes integer_codes(const at::Tensor& rows, const QuantParameters& parameters,
                           const QuantSpec& spec);

}  // namespace quell

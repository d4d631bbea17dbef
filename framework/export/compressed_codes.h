// Codes and grids as compressed-tensors stores them
// (https://github.com/vllm-project/compressed-tensors), and what vLLM makes of them.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>

#include "framework/quant/codes.h"

namespace quell {

// A weight [outputs, inputs]: (codes - zero_point) * scale, with a zero point of 0 where there is
// none.
struct CompressedWeight {
  at::Tensor codes;       // int8 [outputs, inputs], in [-2^(bits - 1), 2^(bits - 1))
  at::Tensor scale;       // float32 [outputs, groups of inputs]
  at::Tensor zero_point;  // int8 of the same shape; undefined for a symmetric grid
};

// The codes of a weight of that specification, of at most `bits` bits, as codes of `bits` bits.
// Throws Error, whose message is to follow the name of the weight, where a zero point is no integer
// or not 0 on a symmetric grid, or codes do not fit.
CompressedWeight compressed_weight(const IntegerCodes& codes, const QuantSpec& spec, int64_t bits);

// Codes int8 [rows, columns] of 4 or 8 bits as int32 [rows, words]: 32 / bits of a row in a word,
// the first one in the lowest bits, each plus 2^(bits - 1). Unused bits are 0.
at::Tensor packed_codes(const at::Tensor& codes, int64_t bits);

// An 8-bit grid for all values of an activation, with codes from -128 to 127.
struct InputGrid {
  float scale;
  int32_t zero_point;
};

// That of given parameters of 8 bits. Throws Error, to follow the activation's name, where the zero
// point is no integer of the grid.
InputGrid input_grid(const QuantParameters& parameters);

// What vLLM computes with after it has read an asymmetric grid, on CUDA
// (vllm/model_executor/kernels/linear/scaled_mm/cutlass.py): range and zero point are computed anew
// in float32, and the zero point is cut off, not rounded.
InputGrid grid_in_vllm(const InputGrid& stored);

// The grid to store, so that vLLM has its zero point: the scale is that one, or the nearest float32
// number that serves.
InputGrid safe_for_vllm(const InputGrid& grid);

}  // namespace quell

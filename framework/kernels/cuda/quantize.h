// Fake quantization of packs, with codes or without.
#pragma once

#include <cstdint>

#include "framework/kernels/cuda.h"
#include "framework/kernels/cuda/elements.h"
#include "framework/kernels/cuda/launch.h"

namespace quell::kernels::cuda {

// Whether packs of four can be moved whole. Null pointers can.
inline bool aligned(const float* x, const float* y, Codes codes) {
  return aligned(x) && aligned(y) && reinterpret_cast<uintptr_t>(codes.data) % 8 == 0;
}

template <int width, class Code>
struct alignas(width * sizeof(Code)) CodePack {
  Code code[width];
};

template <class Code, int width, bool whole>
__device__ void store_codes(const Pack<width>& code, Levels levels, void* codes, int64_t i,
                            int64_t count) {
  Code* to = static_cast<Code*>(codes) + i;
  CodePack<width, Code> pack;
#pragma unroll
  for (int j = 0; j < width; ++j) {
    pack.code[j] = static_cast<Code>(integer_code(code.value[j], levels));
  }
  if (whole && count >= width) {
    *reinterpret_cast<CodePack<width, Code>*>(to) = pack;
    return;
  }
#pragma unroll
  for (int j = 0; j < width; ++j) {
    if (j < count) to[j] = pack.code[j];
  }
}

// Writes what x, the values at element i, become; `count` of them. `coded`: codes are wanted, and y
// may be null.
template <int width, bool whole, bool coded>
__device__ void quantize(const Pack<width>& x, const Pack<width>& scale,
                         const Pack<width>& zero_point, Levels levels, float* y, Codes codes,
                         int64_t i, int64_t count) {
  Pack<width> code, value;
#pragma unroll
  for (int j = 0; j < width; ++j) {
    code.value[j] = code_of(x.value[j], scale.value[j], zero_point.value[j], levels);
    value.value[j] = value_of(code.value[j], scale.value[j], zero_point.value[j]);
  }
  if (!coded || y != nullptr) store<width, whole>(y + i, value, count);
  if constexpr (coded) {
    switch (codes.type) {
      case CodeType::kInt8:
        return store_codes<int8_t, width, whole>(code, levels, codes.data, i, count);
      case CodeType::kUint8:
        return store_codes<uint8_t, width, whole>(code, levels, codes.data, i, count);
      case CodeType::kInt16:
        return store_codes<int16_t, width, whole>(code, levels, codes.data, i, count);
      case CodeType::kUint16:
        return store_codes<uint16_t, width, whole>(code, levels, codes.data, i, count);
    }
  }
}

template <int width>
__device__ Pack<width> splat(float value) {
  Pack<width> pack;
#pragma unroll
  for (int j = 0; j < width; ++j) pack.value[j] = value;
  return pack;
}

}  // namespace quell::kernels::cuda

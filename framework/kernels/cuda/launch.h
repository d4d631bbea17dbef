// What all kernels share: packs of 16 bytes, and errors.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "framework/kernels/cuda/partition.h"

namespace quell::kernels::cuda {

// `width` values that are loaded and stored together.
template <int width>
struct alignas(4 * width) Pack {
  float value[width];
};

inline bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// The first `count` (at most `width`) values at `from`. `whole`: from is aligned to the pack.
template <int width, bool whole>
__device__ Pack<width> load(const float* from, int64_t count) {
  if (whole && count >= width) return *reinterpret_cast<const Pack<width>*>(from);
  Pack<width> pack = {};
#pragma unroll
  for (int j = 0; j < width; ++j) {
    if (j < count) pack.value[j] = from[j];
  }
  return pack;
}

template <int width, bool whole>
__device__ void store(float* to, const Pack<width>& pack, int64_t count) {
  if (whole && count >= width) {
    *reinterpret_cast<Pack<width>*>(to) = pack;
    return;
  }
#pragma unroll
  for (int j = 0; j < width; ++j) {
    if (j < count) to[j] = pack.value[j];
  }
}

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + " on the GPU: " + cudaGetErrorString(error));
}

}  // namespace quell::kernels::cuda

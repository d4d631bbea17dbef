// Compiled with -fmad=false; division and rintf are exact and half to even by default. Bound by
// memory: 16-byte accesses wherever the addresses allow them.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "framework/kernels/cuda.h"

namespace quell::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 132 * 16;  // A few waves of the largest GPU; threads then loop.

struct alignas(16) Pack {
  float value[4];
};

// See fake_quantize_cpu.cpp: the order of the steps is law, and NaN stays NaN.
__device__ float fake_quantize(float x, float scale, float zero_point, Levels levels) {
  float code = rintf(x / scale) + zero_point;
  code = code < levels.low ? levels.low : code;
  code = code > levels.high ? levels.high : code;
  return (code - zero_point) * scale;
}

__device__ Pack fake_quantize(Pack x, float scale, float zero_point, Levels levels) {
  Pack y;
  for (int i = 0; i < 4; ++i) y.value[i] = fake_quantize(x.value[i], scale, zero_point, levels);
  return y;
}

__device__ Pack fake_quantize(Pack x, Pack scale, Pack zero_point, Levels levels) {
  Pack y;
  for (int i = 0; i < 4; ++i) {
    y.value[i] = fake_quantize(x.value[i], scale.value[i], zero_point.value[i], levels);
  }
  return y;
}

// x: [outer, channels, inner], counted in items. An item is a float or a pack; scales are items
// too where every element has its own (inner == 1). Index: 32 bits where they are enough, because
// 64-bit division is slow.
template <class Item, class Scale, class Index>
__global__ void fake_quantize_items(const Item* x, Item* y, Index size, Index channels, Index inner,
                                    const Scale* scale, const Scale* zero_point, Levels levels) {
  const Index stride = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += stride) {
    const Index channel = channels == 1 ? 0 : i / inner % channels;
    y[i] = fake_quantize(x[i], scale[channel], zero_point[channel], levels);
  }
}

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  throw std::runtime_error("fake quantization on the GPU: " +
                           std::string(cudaGetErrorString(error)));
}

template <class Item, class Scale>
void launch(const float* x, float* y, int64_t size, int64_t channels, int64_t inner,
            const float* scale, const float* zero_point, Levels levels, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  const Item* from = reinterpret_cast<const Item*>(x);
  Item* to = reinterpret_cast<Item*>(y);
  const Scale* scales = reinterpret_cast<const Scale*>(scale);
  const Scale* zero_points = reinterpret_cast<const Scale*>(zero_point);
  const int blocks =
      static_cast<int>(std::min(kMaxBlocks, (size + kThreads - 1) / int64_t{kThreads}));
  // Half of the range: the loop counter runs beyond `size` by one stride.
  if (size < INT32_MAX) {
    fake_quantize_items<Item, Scale, uint32_t><<<blocks, kThreads, 0, queue>>>(
        from, to, static_cast<uint32_t>(size), static_cast<uint32_t>(channels),
        static_cast<uint32_t>(inner), scales, zero_points, levels);
  } else {
    fake_quantize_items<Item, Scale, uint64_t><<<blocks, kThreads, 0, queue>>>(
        from, to, static_cast<uint64_t>(size), static_cast<uint64_t>(channels),
        static_cast<uint64_t>(inner), scales, zero_points, levels);
  }
  check(cudaGetLastError());
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

bool available() {
  int devices = 0;
  const bool found = cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
  cudaGetLastError();  // No driver is an answer, not an error to be found by the next call.
  return found;
}

void fake_quantize_tensor(const float* x, float* y, int64_t size, const float* scale,
                          const float* zero_point, Levels levels, void* stream) {
  const int64_t packed = aligned(x) && aligned(y) ? size / 4 * 4 : 0;
  if (packed > 0) {
    launch<Pack, float>(x, y, packed / 4, 1, 1, scale, zero_point, levels, stream);
  }
  if (packed < size) {
    launch<float, float>(x + packed, y + packed, size - packed, 1, 1, scale, zero_point, levels,
                         stream);
  }
}

void fake_quantize_channels(const float* x, float* y, int64_t outer, int64_t channels,
                            int64_t inner, const float* scale, const float* zero_point,
                            Levels levels, void* stream) {
  const int64_t size = outer * channels * inner;
  if (size == 0) return;
  const bool packable = aligned(x) && aligned(y);
  if (packable && inner % 4 == 0) {
    launch<Pack, float>(x, y, size / 4, channels, inner / 4, scale, zero_point, levels, stream);
  } else if (packable && inner == 1 && channels % 4 == 0 && aligned(scale) && aligned(zero_point)) {
    launch<Pack, Pack>(x, y, size / 4, channels / 4, 1, scale, zero_point, levels, stream);
  } else {
    launch<float, float>(x, y, size, channels, inner, scale, zero_point, levels, stream);
  }
}

}  // namespace quell::kernels::cuda

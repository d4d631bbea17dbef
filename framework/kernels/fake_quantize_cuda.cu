// Compiled with -fmad=false; division and rintf are exact and half to even by default. Bound by
// memory: 16-byte accesses wherever the addresses allow them.
#include <algorithm>
#include <cstdint>

#include "framework/kernels/cuda.h"
#include "framework/kernels/cuda/launch.h"
#include "framework/kernels/cuda/quantize.h"

namespace quell::kernels::cuda {
namespace {

constexpr int64_t kMaxBlocks = 132 * 16;  // A few waves of the largest GPU; threads then loop.
constexpr int kUnroll = 4;                // Loads in flight per thread.

// x: [outer, channels, inner], `size` values in all.
struct Affine {
  int64_t size, channels, inner;
  const float* scale;
  const float* zero_point;
  Levels levels;
};

// `each`: neighbours belong to neighbouring channels (inner == 1), otherwise those of a pack share
// one.
template <int width, bool each, bool coded>
__global__ void __launch_bounds__(kThreads)
    fake_quantize_items(const float* x, float* y, Codes codes, Affine of) {
  const bool small = of.size <= UINT32_MAX;  // 64-bit division is slow
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads * width;
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * width;
  for (int64_t first = begin; first < of.size; first += kUnroll * stride) {
    Pack<width> held[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t i = first + u * stride;
      held[u] = load<width, true>(x + i, of.size - i);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int64_t i = first + u * stride;
      if (i >= of.size) break;
      int64_t channel = 0;
      if (of.channels > 1) {
        channel = small ? static_cast<uint32_t>(i) / static_cast<uint32_t>(of.inner) %
                              static_cast<uint32_t>(of.channels)
                        : i / of.inner % of.channels;
      }
      const auto scale =
          each ? load<width, true>(of.scale + channel, width) : splat<width>(of.scale[channel]);
      const auto zero_point = each ? load<width, true>(of.zero_point + channel, width)
                                   : splat<width>(of.zero_point[channel]);
      quantize<width, true, coded>(held[u], scale, zero_point, of.levels, y, codes, i, of.size - i);
    }
  }
}

template <int width, bool each>
void launch(const float* x, float* y, const Affine& of, void* stream, Codes codes) {
  const int64_t items = divide_up(of.size, width);
  const auto blocks =
      static_cast<int>(std::min(kMaxBlocks, divide_up(items, int64_t{kThreads} * kUnroll)));
  const auto kernel = codes.data == nullptr ? fake_quantize_items<width, each, false>
                                            : fake_quantize_items<width, each, true>;
  kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(x, y, codes, of);
  check(cudaGetLastError(), "fake quantization");
}

}  // namespace

bool available() {
  int devices = 0;
  const bool found = cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
  cudaGetLastError();  // No driver is an answer, not an error to be found by the next call.
  return found;
}

std::string name(int index) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "the name of a GPU");
  return properties.name;
}

void select(int index) { check(cudaSetDevice(index), "the choice of a GPU"); }

void fake_quantize_tensor(const float* x, float* y, int64_t size, const float* scale,
                          const float* zero_point, Levels levels, void* stream, Codes codes) {
  fake_quantize_channels(x, y, 1, 1, size, scale, zero_point, levels, stream, codes);
}

void fake_quantize_channels(const float* x, float* y, int64_t outer, int64_t channels,
                            int64_t inner, const float* scale, const float* zero_point,
                            Levels levels, void* stream, Codes codes) {
  const Affine of{outer * channels * inner, channels, inner, scale, zero_point, levels};
  if (of.size == 0) return;
  const bool packable = aligned(x, y, codes);
  if (packable && (inner % 4 == 0 || channels == 1)) {
    launch<4, false>(x, y, of, stream, codes);
  } else if (packable && inner == 1 && channels % 4 == 0 && aligned(scale) && aligned(zero_point)) {
    launch<4, true>(x, y, of, stream, codes);
  } else {
    launch<1, false>(x, y, of, stream, codes);
  }
}

}  // namespace quell::kernels::cuda

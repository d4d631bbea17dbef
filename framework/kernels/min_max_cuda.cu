// Ranges. Their order does not matter, so NaN and the sign of zero are all that needs care.
#include <cstdint>

#include "framework/kernels/cuda.h"
#include "framework/kernels/cuda/elements.h"
#include "framework/kernels/cuda/reduce.h"

namespace quell::kernels::cuda {
namespace {

struct Range {
  using Sum = Bounds;
  struct Channel {};

  const float* x;
  float* min;
  float* max;

  __device__ Channel channel(int64_t) const { return {}; }
  template <int width, bool whole>
  __device__ Pack<width> load(int64_t i, int count) const {
    return cuda::load<width, whole>(x + i, count);
  }
  template <class Loaded>
  __device__ void take(Loaded& values, int j, const Channel&, Sum& bounds) const {
    merge(Bounds{values.value[j], values.value[j]}, bounds);
  }
  template <int width, bool whole>
  __device__ void store(int64_t, int, const Pack<width>&) const {}
  __device__ void finish(int64_t c, const Sum& bounds) const {
    const Bounds range = canonical(bounds);
    min[c] = range.min;
    max[c] = range.max;
  }
};

__device__ int64_t valid(int64_t tokens, int64_t length) {
  return tokens < 0 ? 0 : tokens > length ? length : tokens;
}

// Valid tokens of the first `sequences`, to all lanes.
__device__ int64_t tokens_before(int64_t sequences, const int64_t* lengths, int64_t length) {
  int64_t sum = 0;
  for (int64_t i = threadIdx.x % kWarp; i < sequences; i += kWarp) sum += valid(lengths[i], length);
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  }
  return sum;
}

// A warp per token.
template <bool whole>
__global__ void __launch_bounds__(kThreads) token_ranges(Range of, int64_t tokens, int64_t length,
                                                         int64_t features, const int64_t* lengths) {
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (token >= tokens) return;
  int64_t place = token;
  if (lengths != nullptr) {
    const int64_t sequence = token / length, position = token % length;
    if (position >= valid(lengths[sequence], length)) return;
    place = tokens_before(sequence, lengths, length) + position;
  }
  const float* from = of.x + token * features;
  Bounds bounds;
#pragma unroll 4
  for (int64_t e = threadIdx.x % kWarp * 4; e < features; e += kWarp * 4) {
    const Pack<4> pack = load<4, whole>(from + e, features - e);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (e + j < features) merge(Bounds{pack.value[j], pack.value[j]}, bounds);
    }
  }
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    merge(from_above(bounds, distance), bounds);
  }
  if (threadIdx.x % kWarp == 0) of.finish(place, bounds);
}

}  // namespace

void min_max_tokens(const float* x, int64_t sequences, int64_t length, int64_t features,
                    const int64_t* lengths, float* min, float* max, void* stream) {
  const int64_t tokens = sequences * length;
  if (tokens == 0) return;
  const auto blocks = static_cast<unsigned>(divide_up(tokens, kWarps));
  const auto kernel = features % 4 == 0 && aligned(x) ? token_ranges<true> : token_ranges<false>;
  kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(Range{x, min, max}, tokens,
                                                                     length, features, lengths);
  check(cudaGetLastError(), "ranges of tokens");
}

void min_max_channels(const float* x, int64_t outer, int64_t channels, int64_t inner, float* min,
                      float* max, void* workspace, void* stream) {
  if (outer == 1 && channels > 1 && inner > 1 && inner <= kLongestRow) {
    min_max_tokens(x, 1, channels, inner, nullptr, min, max, stream);
    return;
  }
  reduce(Range{x, min, max}, outer, channels, inner, aligned(x), workspace, stream, "ranges");
}

}  // namespace quell::kernels::cuda

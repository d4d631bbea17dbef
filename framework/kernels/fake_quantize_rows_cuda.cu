// Observing and quantizing rows in one launch: a team of threads holds its row in registers.
#include <cstdint>

#include "framework/kernels/cuda.h"
#include "framework/kernels/cuda/launch.h"
#include "framework/kernels/cuda/quantize.h"
#include "framework/kernels/grid_arithmetic.h"

namespace quell::kernels::cuda {
namespace {

struct Rows {
  const float* x;
  float* y;
  int64_t rows, features;
  AffineRule rule;
  float* scale;
  float* zero_point;
};

// The merged bounds of a team, to all of its threads. All threads of the block take part.
template <int team>
__device__ Bounds merge_team(Bounds bounds) {
  constexpr int kLanes = team < kWarp ? team : kWarp;
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    const Bounds other = {__shfl_xor_sync(0xffffffffu, bounds.min, distance),
                          __shfl_xor_sync(0xffffffffu, bounds.max, distance)};
    merge(other, bounds);
  }
  if constexpr (team > kWarp) {
    static_assert(team == kThreads);
    __shared__ alignas(Bounds) unsigned char memory[kWarps * sizeof(Bounds)];
    Bounds* warps = reinterpret_cast<Bounds*>(memory);
    if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = bounds;
    __syncthreads();
    for (int warp = 0; warp < kWarps; ++warp) merge(warps[warp], bounds);
  }
  return canonical(bounds);
}

__device__ void include(const Pack<4>& pack, int64_t count, Bounds& bounds) {
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j < count) merge(Bounds{pack.value[j], pack.value[j]}, bounds);
  }
}

__device__ ScaleZeroPoint scale_of(const Rows& of, int64_t row, const Bounds& bounds, bool first) {
  const ScaleZeroPoint found = grid_detail::scale_zero_point(of.rule, bounds.min, bounds.max);
  if (first && of.scale != nullptr) of.scale[row] = found.scale;
  if (first && of.zero_point != nullptr) of.zero_point[row] = found.zero_point;
  return found;
}

template <int team, int packs, bool whole, bool coded>
__global__ void __launch_bounds__(kThreads) quantize_rows(Rows of, Codes codes) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / team) + threadIdx.x / team;
  const int member = threadIdx.x % team;
  // Teams without a row stay to the end, because their warp exchanges values.
  const int features = row < of.rows ? static_cast<int>(of.features) : 0;
  const int64_t begin = row * of.features;
  Pack<4> held[packs];
  Bounds bounds;
#pragma unroll
  for (int k = 0; k < packs; ++k) {
    const int e = (k * team + member) * 4;
    held[k] = load<4, whole>(of.x + begin + e, features - e);
  }
#pragma unroll
  for (int k = 0; k < packs; ++k) include(held[k], features - (k * team + member) * 4, bounds);
  bounds = merge_team<team>(bounds);
  if (row >= of.rows) return;
  const ScaleZeroPoint found = scale_of(of, row, bounds, member == 0);
#pragma unroll
  for (int k = 0; k < packs; ++k) {
    const int e = (k * team + member) * 4;
    if (e >= features) break;
    quantize<4, whole, coded>(held[k], splat<4>(found.scale), splat<4>(found.zero_point),
                              of.rule.levels, of.y, codes, begin + e, features - e);
  }
}

// Rows that are too long for registers are read a second time, from the cache if it holds them.
template <bool whole, bool coded>
__global__ void __launch_bounds__(kThreads) quantize_long_rows(Rows of, Codes codes) {
  const int64_t row = blockIdx.x, begin = row * of.features;
  Bounds bounds;
  for (int64_t e = threadIdx.x * 4; e < of.features; e += kThreads * 4) {
    include(load<4, whole>(of.x + begin + e, of.features - e), of.features - e, bounds);
  }
  bounds = merge_team<kThreads>(bounds);
  const ScaleZeroPoint found = scale_of(of, row, bounds, threadIdx.x == 0);
  for (int64_t e = threadIdx.x * 4; e < of.features; e += kThreads * 4) {
    const Pack<4> x = load<4, whole>(of.x + begin + e, of.features - e);
    quantize<4, whole, coded>(x, splat<4>(found.scale), splat<4>(found.zero_point), of.rule.levels,
                              of.y, codes, begin + e, of.features - e);
  }
}

template <bool whole, bool coded>
void launch(const Rows& of, Codes codes, cudaStream_t stream) {
  const auto with = [&](auto kernel, int team) {
    const auto blocks = static_cast<unsigned>(divide_up(of.rows, kThreads / team));
    kernel<<<blocks, kThreads, 0, stream>>>(of, codes);
  };
  // A team holds team * packs * 4 values.
  if (of.features <= 32) {
    with(quantize_rows<8, 1, whole, coded>, 8);
  } else if (of.features <= 128) {
    with(quantize_rows<8, 4, whole, coded>, 8);
  } else if (of.features <= 512) {
    with(quantize_rows<kWarp, 4, whole, coded>, kWarp);
  } else if (of.features <= 1024) {
    with(quantize_rows<kWarp, 8, whole, coded>, kWarp);
  } else if (of.features <= 4096) {
    with(quantize_rows<kThreads, 4, whole, coded>, kThreads);
  } else if (of.features <= 8192) {
    with(quantize_rows<kThreads, 8, whole, coded>, kThreads);
  } else {
    with(quantize_long_rows<whole, coded>, kThreads);
  }
  check(cudaGetLastError(), "dynamic fake quantization");
}

}  // namespace

void fake_quantize_rows_dynamic(const float* x, float* y, int64_t rows, int64_t features,
                                const AffineRule& rule, float* scale, float* zero_point,
                                void* stream, Codes codes) {
  if (rows == 0) return;
  const Rows of{x, y, rows, features, rule, scale, zero_point};
  const auto queue = static_cast<cudaStream_t>(stream);
  const bool whole = features % 4 == 0 && aligned(x, y, codes);
  const auto start = codes.data == nullptr ? (whole ? launch<true, false> : launch<false, false>)
                                           : (whole ? launch<true, true> : launch<false, true>);
  start(of, codes, queue);
}

}  // namespace quell::kernels::cuda

// Moments, ranges and counts in one pass over x.
#include <cstdint>

#include "framework/kernels/cuda.h"
#include "framework/kernels/cuda/moments.h"
#include "framework/kernels/cuda/reduce.h"

namespace quell::kernels::cuda {
namespace {

struct Describe {
  using Sum = PowerSums;
  struct Channel {
    double shift;
    float threshold;
  };

  const float* x;
  int64_t inner;
  int64_t count;  // values of a channel
  const float* threshold;
  Statistics results;

  __device__ double shift(int64_t c) const { return count > 0 ? x[c * inner] : 0.0f; }
  __device__ Channel channel(int64_t c) const {
    return {shift(c), threshold == nullptr ? INFINITY : *threshold};
  }
  template <int width, bool whole>
  __device__ Pack<width> load(int64_t i, int count) const {
    return cuda::load<width, whole>(x + i, count);
  }
  template <class Loaded>
  __device__ void take(Loaded& values, int j, const Channel& of, Sum& sums) const {
    add(values.value[j], of.shift, of.threshold, sums);
  }
  template <int width, bool whole>
  __device__ void store(int64_t, int, const Pack<width>&) const {}
  __device__ void finish(int64_t c, const Sum& sums) const {
    finish(c, moments_of(sums, shift(c), count), sums);
  }
  __device__ void finish(int64_t c, const Moments& moments, const Sum& sums) const {
    const Bounds range = canonical(sums.bounds);
    if (results.mean != nullptr) results.mean[c] = moments.mean;
    if (results.m2 != nullptr) results.m2[c] = moments.m2;
    if (results.m3 != nullptr) results.m3[c] = moments.m3;
    if (results.m4 != nullptr) results.m4[c] = moments.m4;
    if (results.min != nullptr) results.min[c] = range.min;
    if (results.max != nullptr) results.max[c] = range.max;
    if (results.beyond != nullptr) results.beyond[c] = sums.beyond;
  }
};

template <class Value>
__device__ Value sum_of_lanes(Value sum) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  }
  return sum;
}

// Calls body(value) for the values of a row that belong to this lane.
template <bool whole, class Body>
__device__ void each_value(const float* row, int64_t features, const Body& body) {
#pragma unroll 2
  for (int64_t e = threadIdx.x % kWarp * 4; e < features; e += kWarp * 4) {
    const Pack<4> pack = load<4, whole>(row + e, features - e);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (e + j < features) body(pack.value[j]);
    }
  }
}

// A warp per row, which it reads twice, the second time from the cache.
template <bool whole>
__global__ void __launch_bounds__(kThreads)
    describe_rows(Describe of, int64_t rows, int64_t features) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  const float* from = of.x + row * features;
  const float threshold = of.channel(row).threshold;
  PowerSums sums;
  int beyond = 0;
  each_value<whole>(from, features, [&](float x) {
    sums.sum1 += x;
    beyond += fabsf(x) > threshold ? 1 : 0;
    merge(Bounds{x, x}, sums.bounds);
  });
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    merge(from_above(sums.bounds, distance), sums.bounds);
  }
  sums.beyond = sum_of_lanes(beyond);
  Moments moments;
  moments.mean = sum_of_lanes(sums.sum1) / static_cast<double>(features);
  each_value<whole>(from, features, [&](float x) {
    const double distance = x - moments.mean, square = distance * distance;
    moments.m2 += square;
    moments.m3 += square * distance;
    moments.m4 += square * square;
  });
  moments.m2 = sum_of_lanes(moments.m2);
  moments.m3 = sum_of_lanes(moments.m3);
  moments.m4 = sum_of_lanes(moments.m4);
  if (threadIdx.x % kWarp == 0) of.finish(row, moments, sums);
}

}  // namespace

void statistics_channels(const float* x, int64_t outer, int64_t channels, int64_t inner,
                         const float* threshold, const Statistics& results, void* workspace,
                         void* stream) {
  const Describe of{x, inner, outer * inner, threshold, results};
  if (outer > 1 || channels == 1 || inner <= 1 || inner > kLongestRow) {
    reduce(of, outer, channels, inner, aligned(x), workspace, stream, "statistics");
    return;
  }
  const auto blocks = static_cast<unsigned>(divide_up(channels, kWarps));
  const auto kernel = inner % 4 == 0 && aligned(x) ? describe_rows<true> : describe_rows<false>;
  kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(of, channels, inner);
  check(cudaGetLastError(), "statistics");
}

}  // namespace quell::kernels::cuda

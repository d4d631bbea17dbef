// Reductions of x [outer, channels, inner] to one result per channel, in a single launch. Blocks
// write partial results; of each channel (or panel of channels) the block that finishes last puts
// them together, in the order of the chunks. Which block that is changes nothing.
//
// An operation is a struct with
//   Channel channel(int64_t c)                       what it knows about a channel
//   Values<width, whole> load(int64_t i, int count)  the inputs at element i
//   void take(values, j, channel, Sum&)              adds element j to a sum
//   void store(int64_t i, int count, values)         writes what take() left in the values
//   void finish(int64_t c, Sum)                      writes the result of a channel
// and a merge(const Sum& part, Sum& all) beside its Sum.
#pragma once

#include "framework/kernels/cuda/launch.h"

namespace quell::kernels::cuda {

// The value of the lane `distance` above.
template <class Sum>
__device__ Sum from_above(const Sum& sum, int distance) {
  static_assert(sizeof(Sum) % 4 == 0);
  constexpr int kWords = sizeof(Sum) / 4;
  union Words {
    __device__ Words() {}
    Sum sum;
    uint32_t word[kWords];
  } words;
  words.sum = sum;
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    words.word[i] = __shfl_down_sync(0xffffffffu, words.word[i], distance);
  }
  return words.sum;
}

// The merged sums of all threads, in a fixed order; valid in thread 0.
template <class Sum>
__device__ Sum merge_block(Sum sum, Sum* shared) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
#pragma unroll 1
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const Sum part = from_above(sum, distance);
    merge(part, sum);
  }
  __syncthreads();  // The memory may still be read from an earlier use.
  if (lane == 0) shared[warp] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 1; i < kWarps; ++i) merge(shared[i], sum);
  }
  return sum;
}

// Whether all other blocks that count with `counter` have written their results, to all threads of
// the block. The counter is zero again afterwards.
__device__ inline bool is_last(uint32_t* counter, uint32_t blocks) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicInc(counter, blocks - 1) == blocks - 1;
    __threadfence();
  }
  __syncthreads();
  return last;
}

struct Task {
  int64_t outer, channels, inner;
  int64_t chunks, chunk_size;
  uint32_t* counters;
  void* partial;  // [chunks][channels] sums
};

// One channel per blockIdx.x, one chunk of its values per blockIdx.y.
template <int width, bool whole, class Operation>
__global__ void __launch_bounds__(kThreads) reduce_channels(Operation operation, Task of) {
  using Sum = typename Operation::Sum;
  __shared__ alignas(16) unsigned char memory[kWarps * sizeof(Sum)];
  Sum* shared = reinterpret_cast<Sum*>(memory);
  const int64_t c = blockIdx.x;
  const int64_t values = of.outer * of.inner;
  const int64_t first = blockIdx.y * of.chunk_size;
  const int64_t last = first + of.chunk_size < values ? first + of.chunk_size : values;
  const auto channel = operation.channel(c);
  const bool small = values <= UINT32_MAX;  // 64-bit division is slow
  Sum sum;
  for (int64_t e = first + threadIdx.x * width; e < last; e += kThreads * width) {
    int64_t stretch = 0;
    if (of.outer > 1) {
      stretch = small ? static_cast<uint32_t>(e) / static_cast<uint32_t>(of.inner) : e / of.inner;
    }
    const int64_t i = e + (stretch * (of.channels - 1) + c) * of.inner;
    const int count = last - e < width ? static_cast<int>(last - e) : width;
    auto found = operation.template load<width, whole>(i, count);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      if (j < count) operation.take(found, j, channel, sum);
    }
    operation.template store<width, whole>(i, count, found);
  }
  sum = merge_block(sum, shared);
  if (of.chunks == 1) {
    if (threadIdx.x == 0) operation.finish(c, sum);
    return;
  }
  Sum* partial = static_cast<Sum*>(of.partial);
  if (threadIdx.x == 0) partial[blockIdx.y * of.channels + c] = sum;
  if (!is_last(of.counters + c, static_cast<uint32_t>(of.chunks))) return;
  sum = Sum();
  for (int64_t chunk = threadIdx.x; chunk < of.chunks; chunk += kThreads) {
    merge(partial[chunk * of.channels + c], sum);
  }
  sum = merge_block(sum, shared);
  if (threadIdx.x == 0) operation.finish(c, sum);
}

// Merges the sums of the warps lane by lane; valid in warp 0.
template <class Sum>
__device__ Sum merge_warps(Sum sum, Sum* shared) {
  __syncthreads();
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x < kWarp) {
    for (int warp = 1; warp < kWarps; ++warp) merge(shared[warp * kWarp + threadIdx.x], sum);
  }
  return sum;
}

// x: [rows, channels]. A panel of kWarp * width channels per blockIdx.x, a chunk of rows per
// blockIdx.y; a warp goes through every kWarps-th row.
template <int width, bool whole, class Operation>
__global__ void __launch_bounds__(kThreads) reduce_columns(Operation operation, Task of) {
  using Sum = typename Operation::Sum;
  __shared__ alignas(16) unsigned char memory[kThreads * sizeof(Sum)];
  Sum* shared = reinterpret_cast<Sum*>(memory);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t c = (static_cast<int64_t>(blockIdx.x) * kWarp + lane) * width;
  const bool mine = c < of.channels;
  const int64_t first = blockIdx.y * of.chunk_size;
  const int64_t last = first + of.chunk_size < of.outer ? first + of.chunk_size : of.outer;
  Sum sums[width];
  if (mine) {
    typename Operation::Channel channel[width];
#pragma unroll
    for (int j = 0; j < width; ++j) channel[j] = operation.channel(c + j);
    for (int64_t row = first + warp; row < last; row += kWarps) {
      auto found = operation.template load<width, whole>(row * of.channels + c, width);
#pragma unroll
      for (int j = 0; j < width; ++j) operation.take(found, j, channel[j], sums[j]);
      operation.template store<width, whole>(row * of.channels + c, width, found);
    }
  }
  Sum* partial = static_cast<Sum*>(of.partial);
#pragma unroll
  for (int j = 0; j < width; ++j) {
    const Sum sum = merge_warps(sums[j], shared);
    if (warp > 0 || !mine) continue;
    if (of.chunks == 1) {
      operation.finish(c + j, sum);
    } else {
      partial[blockIdx.y * of.channels + c + j] = sum;
    }
  }
  if (of.chunks == 1 || !is_last(of.counters + blockIdx.x, static_cast<uint32_t>(of.chunks)))
    return;
#pragma unroll 1
  for (int j = 0; j < width; ++j) {
    Sum sum;
    for (int64_t chunk = warp; mine && chunk < of.chunks; chunk += kWarps) {
      merge(partial[chunk * of.channels + c + j], sum);
    }
    sum = merge_warps(sum, shared);
    if (warp == 0 && mine) operation.finish(c + j, sum);
  }
}

// `whole`: all arrays of the operation are aligned to 16 bytes. `workspace` may be null where there
// is one chunk.
template <class Operation>
void reduce(const Operation& operation, int64_t outer, int64_t channels, int64_t inner, bool whole,
            void* workspace, void* stream, const char* what) {
  if (channels == 0) return;
  const Partition cut = partition(outer, channels, inner, kRowsPerChunk<typename Operation::Sum>);
  Task of{outer, channels, inner, cut.chunks, cut.chunk_size, nullptr, nullptr};
  of.counters = static_cast<uint32_t*>(workspace);
  of.partial = static_cast<unsigned char*>(workspace) + kCounterBytes;
  const dim3 grid(static_cast<unsigned>(cut.panels), static_cast<unsigned>(cut.chunks));
  const auto queue = static_cast<cudaStream_t>(stream);
  const auto kernel = cut.columns ? (!cut.by_fours ? reduce_columns<1, true, Operation>
                                     : whole       ? reduce_columns<4, true, Operation>
                                                   : reduce_columns<4, false, Operation>)
                                  : (!cut.by_fours ? reduce_channels<1, true, Operation>
                                     : whole       ? reduce_channels<4, true, Operation>
                                                   : reduce_channels<4, false, Operation>);
  kernel<<<grid, kThreads, 0, queue>>>(operation, of);
  check(cudaGetLastError(), what);
}

}  // namespace quell::kernels::cuda

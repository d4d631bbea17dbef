// Counts are integers, so atomic additions give the same result in every order.
#include <algorithm>
#include <cstdint>

#include "framework/kernels/cuda.h"
#include "framework/kernels/cuda/elements.h"
#include "framework/kernels/cuda/launch.h"

namespace quell::kernels::cuda {
namespace {

// What a block has without asking for more, and how many tables its warps share at most: values
// gather in few bins, and additions to one address wait for each other.
constexpr int64_t kSharedBytes = 48 * 1024;
constexpr int64_t kMaxTables = kWarps;

struct Histogram {
  const float* x;
  int64_t size;
  const float* low;
  const float* high;
  int bins;
  bool magnitudes;
  int tables;  // in shared memory; 0: too many bins for it
  unsigned long long* counts;
};

template <int width>
__global__ void __launch_bounds__(kThreads) count(Histogram of) {
  extern __shared__ uint32_t tables[];
  const int entries = of.tables * of.bins;
  for (int i = threadIdx.x; i < entries; i += kThreads) tables[i] = 0;
  __syncthreads();
  uint32_t* mine = of.tables > 0 ? tables + threadIdx.x / kWarp % of.tables * of.bins : nullptr;
  const float low = *of.low, high = *of.high;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads * width;
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * width;
  for (int64_t i = begin; i < of.size; i += stride) {
    const Pack<width> pack = load<width, true>(of.x + i, of.size - i);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      if (i + j >= of.size) break;
      const float value = of.magnitudes ? fabsf(pack.value[j]) : pack.value[j];
      const int bin = bin_of(value, low, high, of.bins);
      if (bin < 0) continue;
      if (mine != nullptr) {
        atomicAdd(mine + bin, 1u);
      } else {
        atomicAdd(of.counts + bin, 1ull);
      }
    }
  }
  if (mine == nullptr) return;
  __syncthreads();
  for (int bin = threadIdx.x; bin < of.bins; bin += kThreads) {
    unsigned long long sum = 0;
    for (int table = 0; table < of.tables; ++table) sum += tables[table * of.bins + bin];
    if (sum > 0) atomicAdd(of.counts + bin, sum);
  }
}

}  // namespace

void add_to_histogram(const float* x, int64_t size, const float* low, const float* high,
                      int64_t bins, bool magnitudes, int64_t* counts, void* stream) {
  if (size == 0) return;
  const int64_t tables = std::min(kMaxTables, kSharedBytes / (bins * 4));
  const Histogram of{x,
                     size,
                     low,
                     high,
                     static_cast<int>(bins),
                     magnitudes,
                     static_cast<int>(tables),
                     reinterpret_cast<unsigned long long*>(counts)};
  // A block must count many values before its table is worth adding up.
  const int64_t values = std::max<int64_t>(kThreads * 16, tables * bins);
  const auto blocks = static_cast<unsigned>(std::min(kEnoughBlocks, divide_up(size, values)));
  const auto kernel = aligned(x) ? count<4> : count<1>;
  kernel<<<blocks, kThreads, tables * bins * 4, static_cast<cudaStream_t>(stream)>>>(of);
  check(cudaGetLastError(), "a histogram");
}

}  // namespace quell::kernels::cuda

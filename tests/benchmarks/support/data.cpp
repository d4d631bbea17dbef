#include "tests/benchmarks/support/data.h"

#include <ATen/ATen.h>
#include <algorithm>
#include <limits>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

namespace quell::benchmarks {

at::Tensor activations(const std::vector<int64_t>& shape) {
  at::manual_seed(1);
  at::Tensor x = at::randn(shape);
  x.select(-1, shape.back() / 3).mul_(20);
  x.select(-1, shape.back() / 2).mul_(-35);
  return x;
}

Buffers::Buffers(const Setting& setting) {
  const int64_t slots = setting.slots(2 * setting.values() * static_cast<int64_t>(sizeof(float)));
  x.push_back(activations(setting.shape));
  for (int64_t i = 1; i < slots; ++i) x.push_back(x.front().clone());
  for (int64_t i = 0; i < slots; ++i) y.push_back(at::zeros_like(x.front()));
}

const float* Buffers::in(int64_t slot) const {
  return x[static_cast<size_t>(slot)].const_data_ptr<float>();
}

float* Buffers::out(int64_t slot) const {
  return y[static_cast<size_t>(slot)].mutable_data_ptr<float>();
}

#ifdef __x86_64__
#define QUELL_WIDEST_VECTORS                                  \
  __attribute__((target_clones("avx512f", "avx2", "default"), \
                 optimize("O3", "no-tree-loop-distribute-patterns")))
#else
#define QUELL_WIDEST_VECTORS
#endif

QUELL_WIDEST_VECTORS
void copy_floats(const float* x, float* y, int64_t size) {
  for (int64_t i = 0; i < size; ++i) y[i] = x[i];
}

QUELL_WIDEST_VECTORS
float largest_of(const float* x, int64_t size) {
  // Independent lanes: one chain of comparisons would measure the processor's latency instead.
  constexpr int64_t kLanes = 128;
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = lanes[lane] < x[i + lane] ? x[i + lane] : lanes[lane];
    }
  }
  float largest = *std::max_element(lanes, lanes + kLanes);
  for (; i < size; ++i) largest = std::max(largest, x[i]);
  return largest;
}

bool copy_floats_streaming(const float* x, float* y, int64_t size) {
#ifdef __SSE__
  for (int64_t i = 0; i < size; i += 4) _mm_stream_ps(y + i, _mm_loadu_ps(x + i));
  _mm_sfence();
  return true;
#else
  static_cast<void>(x), static_cast<void>(y), static_cast<void>(size);
  return false;
#endif
}

Contender copy_contender(const Buffers& buffers) {
  return {"copy",
          [buffers](int64_t slot) -> Outputs {
            copy_floats(buffers.in(slot), buffers.out(slot), buffers.x.front().numel());
            return {buffers.y[static_cast<size_t>(slot)]};
          },
          not_compared};
}

Contender read_contender(const Buffers& buffers) {
  return {"read",
          [buffers](int64_t slot) -> Outputs {
            return {at::scalar_tensor(largest_of(buffers.in(slot), buffers.x.front().numel()))};
          },
          not_compared};
}

}  // namespace quell::benchmarks

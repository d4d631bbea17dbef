#include "framework/kernels/norm.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/norm_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/sums-inl.h"

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Calls each(first feature, count, index of the sum) for vectors of features.
template <class Each>
HWY_INLINE void for_each_vector(int64_t features, const Each& each) {
  int64_t i = 0;
  for (; i + kPanel <= features; i += kPanel) {
    for (int64_t v = 0; v < kVectors; ++v) each(i + v * kLanes, kLanes, v);
  }
  for (int64_t v = 0; i < features; i += kLanes, ++v) each(i, std::min(kLanes, features - i), v);
}

void norm_row(const LayerNorm& norm, const float* row, const float* added, int64_t features,
              float* y) {
  const FloatTag tag;
  HWY_ALIGN float few[kLanes] = {};  // the last features go through it
  const auto load = [&](const float* from, int64_t count) HWY_ATTR {
    if (count == kLanes) return hn::LoadU(tag, from);
    std::copy_n(from, count, few);
    return hn::Load(tag, few);
  };
  const auto store = [&](Vector value, float* to, int64_t count) HWY_ATTR {
    if (count == kLanes) return hn::StoreU(value, tag, to);
    hn::Store(value, tag, few);
    std::copy_n(few, count, to);
    std::fill(few + count, few + kLanes, 0.0f);
  };
  Vector sums[kVectors];
  for (Vector& sum : sums) sum = hn::Zero(tag);
  for_each_vector(features, [&](int64_t i, int64_t count, int64_t v) HWY_ATTR {
    Vector x = load(row + i, count);
    if (added != nullptr) x = hn::Add(x, load(added + i, count));
    sums[v] = hn::Add(sums[v], x);
    store(x, y + i, count);
  });
  const float share = 1 / static_cast<float>(features);
  const Vector mean = hn::Set(tag, sum_by_halves(sums) * share);
  for (Vector& sum : sums) sum = hn::Zero(tag);
  for_each_vector(features, [&](int64_t i, int64_t count, int64_t v) HWY_ATTR {
    Vector x = hn::Sub(load(y + i, count), mean);
    if (count < kLanes) x = hn::IfThenElseZero(hn::FirstN(tag, static_cast<size_t>(count)), x);
    sums[v] = hn::MulAdd(x, x, sums[v]);
  });
  const float variance = sum_by_halves(sums) * share;
  const Vector factor = hn::Set(tag, 1 / std::sqrt(variance + norm.epsilon));
  for_each_vector(features, [&](int64_t i, int64_t count, int64_t) HWY_ATTR {
    const Vector x = hn::Mul(hn::Sub(load(y + i, count), mean), factor);
    const Vector gamma = load(norm.gamma + i, count);
    store(
        norm.beta == nullptr ? hn::Mul(x, gamma) : hn::MulAdd(x, gamma, load(norm.beta + i, count)),
        y + i, count);
  });
}

void norm_rows(const LayerNorm& norm, const float* rows, const float* added, int64_t count,
               int64_t features, float* y) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = i * features;
    norm_row(norm, rows + at, added == nullptr ? nullptr : added + at, features, y + at);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(norm_rows);

constexpr int64_t kWorthAThread = 1 << 16;  // values, some 30 microseconds

}  // namespace

void layer_norm(const LayerNorm& norm, const float* rows, const float* added, int64_t count,
                int64_t features, float* y, ParallelFor parallel_for) {
  parallel_for(
      0, count, std::max<int64_t>(1, kWorthAThread / features), [&](int64_t begin, int64_t end) {
        const int64_t at = begin * features;
        HWY_DYNAMIC_DISPATCH(norm_rows)
        (norm, rows + at, added == nullptr ? nullptr : added + at, end - begin, features, y + at);
      });
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

#include <algorithm>

#include "framework/kernels/silu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/silu_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/activation-inl.h"
#include "framework/kernels/sums-inl.h"

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void silu_of(float* values, int64_t count) {
  const FloatTag tag;
  const auto apply = [&](float* at) HWY_ATTR {
    const Vector x = hn::LoadU(tag, at);
    const Vector below = hn::Add(exponential(tag, hn::Neg(x), hn::Zero(tag)), hn::Set(tag, 1.0f));
    // Further down, where the true value is less, exponential() ends.
    const Vector least = hn::Set(tag, -87.0f);
    hn::StoreU(hn::Div(hn::IfThenElse(hn::Lt(x, least), least, x), below), tag, at);
  };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) apply(values + i);
  if (i == count) return;
  HWY_ALIGN float last[kLanes] = {};
  std::copy(values + i, values + count, last);
  apply(last);
  std::copy_n(last, std::min(count - i, kLanes), values + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(silu_of);

constexpr int64_t kWorthAThread = 16384;  // about 10 microseconds

}  // namespace

void silu(float* values, int64_t count, ParallelFor parallel_for) {
  parallel_for(0, count, kWorthAThread, [&](int64_t first, int64_t last) {
    HWY_DYNAMIC_DISPATCH(silu_of)(values + first, last - first);
  });
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

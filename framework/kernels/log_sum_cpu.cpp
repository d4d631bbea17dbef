#include "framework/kernels/log_sum.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/log_sum_cpu.cpp"
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

// The last columns, filled up with -infinity, whose exponential is 0 here.
struct Rest {
  HWY_ALIGN float values[kPanel];
  Rest(const float* row, int64_t count) {
    std::copy_n(row, count, values);
    std::fill(values + count, values + kPanel, -std::numeric_limits<float>::infinity());
  }
};

float largest_of(const float* row, int64_t panels, const float* rest) {
  const FloatTag tag;
  Vector most[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) most[v] = hn::Load(tag, rest + v * kLanes);
  for (int64_t i = 0; i < panels; ++i) {
    for (int64_t v = 0; v < kVectors; ++v) {
      most[v] = hn::Max(most[v], hn::LoadU(tag, row + i * kPanel + v * kLanes));
    }
  }
  for (int64_t v = 1; v < kVectors; ++v) most[0] = hn::Max(most[0], most[v]);
  return hn::GetLane(hn::MaxOfLanes(tag, most[0]));
}

// Up to so many panels are added in float32 at once, those of more in small blocks.
constexpr int64_t kMostAtOnce = 4096, kBlock = 32;

double sum_of(const float* row, int64_t panels, const float* rest, float largest) {
  const FloatTag tag;
  const Vector most = hn::Set(tag, largest), least = hn::Set(tag, -87.0f);  // of exponential()
  Vector sums[kVectors];
  const auto add = [&](const float* from) HWY_ATTR {
    for (int64_t v = 0; v < kVectors; ++v) {
      const Vector x = hn::Sub(hn::LoadU(tag, from + v * kLanes), most);
      Vector value = hn::IfThenZeroElse(hn::Lt(x, least), exponential(tag, x, hn::Zero(tag)));
      value = hn::IfThenElse(hn::IsNaN(x), x, value);
      sums[v] = hn::Add(sums[v], value);
    }
  };
  const int64_t block = panels <= kMostAtOnce ? panels + 1 : kBlock;
  double total = 0;
  for (int64_t begin = 0; begin <= panels; begin += block) {
    for (Vector& sum : sums) sum = hn::Zero(tag);
    const int64_t end = std::min(begin + block, panels);
    for (int64_t i = begin; i < end; ++i) add(row + i * kPanel);
    if (begin + block > panels) add(rest);
    total += static_cast<double>(sum_by_halves(sums));
  }
  return total;
}

void log_sum_rows(const float* rows, int64_t count, int64_t columns, float* largest,
                  float* log_sum) {
  const int64_t panels = columns / kPanel;
  for (int64_t i = 0; i < count; ++i) {
    const float* row = rows + i * columns;
    const Rest rest(row + panels * kPanel, columns - panels * kPanel);
    largest[i] = largest_of(row, panels, rest.values);
    log_sum[i] = static_cast<float>(std::log(sum_of(row, panels, rest.values, largest[i])));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(log_sum_rows);

constexpr int64_t kWorthAThread = 1 << 15;  // values, some 30 microseconds

}  // namespace

void log_sum(const float* rows, int64_t count, int64_t columns, float* largest, float* log_sum,
             ParallelFor parallel_for) {
  parallel_for(0, count, std::max<int64_t>(1, kWorthAThread / columns),
               [&](int64_t begin, int64_t end) {
                 HWY_DYNAMIC_DISPATCH(log_sum_rows)
                 (rows + begin * columns, end - begin, columns, largest + begin, log_sum + begin);
               });
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

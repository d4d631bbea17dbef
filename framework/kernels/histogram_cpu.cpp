#include "framework/kernels/histogram.h"

#include <algorithm>
#include <mutex>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/histogram_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#ifndef QUELL_HISTOGRAM_PARTS
#define QUELL_HISTOGRAM_PARTS
namespace quell::kernels {

// Neighbours often fall into the same bin, and an increment has to wait for the one before it. So
// they count in different tables; but many bins would push each other out of the cache.
constexpr int64_t kTables = 4;
constexpr int64_t kMostBinsOfManyTables = 8192;

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::Rebind<int32_t, FloatTag>;
using Vector = hn::Vec<FloatTag>;

// Finds the bins of values; what is not counted gets the number behind the last bin.
class BinFinder {
 public:
  BinFinder(Bins bins, bool magnitudes)
      : low_(set(bins.low)),
        high_(set(bins.high)),
        width_(set(bins.high - bins.low)),
        count_(set(static_cast<float>(bins.count))),
        last_(set(static_cast<float>(bins.count - 1))),
        magnitudes_(magnitudes) {}

  HWY_INLINE hn::Vec<IntTag> operator()(Vector x) const {
    if (magnitudes_) x = hn::Abs(x);
    const Vector place = hn::Div(hn::Mul(hn::Sub(x, low_), count_), width_);
    const auto counted = hn::And(hn::Le(low_, x), hn::Le(x, high_));
    const Vector bin = hn::IfThenElse(hn::Lt(last_, place), last_, place);
    return hn::ConvertTo(IntTag(), hn::IfThenElse(counted, bin, count_));
  }

 private:
  static Vector set(float value) { return hn::Set(FloatTag(), value); }

  Vector low_, high_, width_, count_, last_;
  bool magnitudes_;
};

// tables: [tables][bins.count + 1].
template <int64_t tables>
void count_into(const float* x, int64_t size, Bins bins, bool magnitudes, uint32_t* table) {
  const FloatTag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const BinFinder find(bins, magnitudes);
  const int64_t stride = bins.count + 1;
  constexpr int64_t kBuffer = 1024;
  HWY_ALIGN int32_t found[kBuffer];
  for (int64_t first = 0; first < size; first += kBuffer) {
    const int64_t count = std::min(kBuffer, size - first);
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      hn::Store(find(hn::LoadU(tag, x + first + i)), IntTag(), found + i);
    }
    if (i < count) {
      const auto some = hn::FirstN(tag, static_cast<size_t>(count - i));
      hn::Store(find(hn::MaskedLoad(some, tag, x + first + i)), IntTag(), found + i);
    }
    for (i = 0; i + tables <= count; i += tables) {
      for (int64_t t = 0; t < tables; ++t) ++table[t * stride + found[i + t]];
    }
    for (; i < count; ++i) ++table[found[i]];
  }
}

void count_bins(const float* x, int64_t size, Bins bins, bool magnitudes, int64_t tables,
                uint32_t* table) {
  if (tables == 1) {
    count_into<1>(x, size, bins, magnitudes, table);
  } else {
    count_into<kTables>(x, size, bins, magnitudes, table);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(count_bins);

// Values that are worth a thread (about 10 microseconds), and as many as a table can count.
constexpr int64_t kGrain = 32768;
constexpr int64_t kMost = int64_t{1} << 30;

void add(const float* x, int64_t size, Bins bins, bool magnitudes, int64_t* counts,
         ParallelFor parallel_for) {
  const int64_t tables = bins.count <= kMostBinsOfManyTables ? kTables : 1;
  std::mutex mutex;
  const auto add_part = [&](int64_t first, int64_t last) {
    std::vector<uint32_t> table(tables * (bins.count + 1));
    HWY_DYNAMIC_DISPATCH(count_bins)
    (x + first, last - first, bins, magnitudes, tables, table.data());
    // The order of adding does not matter: these are integers.
    const std::lock_guard lock(mutex);
    for (int64_t t = 0; t < tables; ++t) {
      const uint32_t* part = table.data() + t * (bins.count + 1);
      for (int64_t bin = 0; bin < bins.count; ++bin) counts[bin] += part[bin];
    }
  };
  parallel_for(0, size, std::max(kGrain, 4 * tables * bins.count),
               [&](int64_t first, int64_t last) {
                 for (; first < last; first += kMost)
                   add_part(first, std::min(last, first + kMost));
               });
}

}  // namespace

void add_to_histogram(const float* x, int64_t size, Bins bins, int64_t* counts,
                      ParallelFor parallel_for) {
  add(x, size, bins, false, counts, parallel_for);
}

void add_magnitudes_to_histogram(const float* x, int64_t size, Bins bins, int64_t* counts,
                                 ParallelFor parallel_for) {
  add(x, size, bins, true, counts, parallel_for);
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

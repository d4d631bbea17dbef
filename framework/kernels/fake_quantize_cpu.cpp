#include "framework/kernels/fake_quantize.h"

#include <algorithm>

#include "framework/kernels/min_max.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/fake_quantize_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "framework/kernels/fake_quantize-inl.h"
#include "framework/kernels/min_max-inl.h"

#ifndef QUELL_FAKE_QUANTIZE_PARTS
#define QUELL_FAKE_QUANTIZE_PARTS
namespace quell::kernels {

// How results are written. kStream passes the caches by: it saves the read of each line that is to
// be overwritten, a third of the traffic.
enum class Writing { kCached, kStream };

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using Vector = hn::Vec<FloatTag>;

HWY_INLINE Vector fake_quantize(Vector x, Vector scale, Vector zero_point, Vector low,
                                Vector high) {
  return value_of(code_of(x, scale, zero_point, low, high), scale, zero_point);
}

HWY_INLINE void store(Vector value, float* to, Writing writing) {
  if (writing == Writing::kStream) {
    hn::Stream(value, FloatTag(), to);
  } else {
    hn::StoreU(value, FloatTag(), to);
  }
}

// Values before the first that can be streamed, which starts a cache line.
int64_t values_before_line(const float* y, int64_t size) {
  constexpr uintptr_t kLine = 64;
  const uintptr_t beyond = reinterpret_cast<uintptr_t>(y) % kLine;
  return std::min(size, static_cast<int64_t>((kLine - beyond) % kLine / sizeof(float)));
}

void with_one_scale(const float* x, float* y, int64_t size, float scale, float zero_point,
                    Levels levels, Writing writing) {
  const FloatTag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector s = hn::Set(tag, scale);
  const Vector z = hn::Set(tag, zero_point);
  const Vector low = hn::Set(tag, levels.low);
  const Vector high = hn::Set(tag, levels.high);
  int64_t i = 0;
  if (writing == Writing::kStream) {
    i = values_before_line(y, size);
    with_one_scale(x, y, i, scale, zero_point, levels, Writing::kCached);
  }
  for (; i + lanes <= size; i += lanes) {
    store(fake_quantize(hn::LoadU(tag, x + i), s, z, low, high), y + i, writing);
  }
  if (i == size) return;
  const auto rest = hn::FirstN(tag, static_cast<size_t>(size - i));
  const Vector last = hn::MaskedLoad(rest, tag, x + i);
  hn::BlendedStore(fake_quantize(last, s, z, low, high), rest, tag, y + i);
}

void with_a_scale_each(const float* x, float* y, int64_t size, const float* scale,
                       const float* zero_point, Levels levels, Writing writing) {
  const FloatTag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector low = hn::Set(tag, levels.low);
  const Vector high = hn::Set(tag, levels.high);
  int64_t i = 0;
  if (writing == Writing::kStream) {
    i = values_before_line(y, size);
    with_a_scale_each(x, y, i, scale, zero_point, levels, Writing::kCached);
  }
  for (; i + lanes <= size; i += lanes) {
    const Vector s = hn::LoadU(tag, scale + i);
    const Vector z = hn::LoadU(tag, zero_point + i);
    store(fake_quantize(hn::LoadU(tag, x + i), s, z, low, high), y + i, writing);
  }
  if (i == size) return;
  const auto rest = hn::FirstN(tag, static_cast<size_t>(size - i));
  const Vector s = hn::MaskedLoad(rest, tag, scale + i);
  const Vector z = hn::MaskedLoad(rest, tag, zero_point + i);
  const Vector last = hn::MaskedLoad(rest, tag, x + i);
  hn::BlendedStore(fake_quantize(last, s, z, low, high), rest, tag, y + i);
}

// Elements first..last of x [outer, channels, inner].
void with_channel_scales(const float* x, float* y, int64_t first, int64_t last, int64_t channels,
                         int64_t inner, const float* scale, const float* zero_point, Levels levels,
                         Writing writing) {
  for (int64_t i = first; i < last;) {
    const int64_t channel = i / inner % channels;
    int64_t size = 0;
    if (inner == 1) {
      size = std::min(channels - channel, last - i);
      with_a_scale_each(x + i, y + i, size, scale + channel, zero_point + channel, levels, writing);
    } else {
      size = std::min(inner - i % inner, last - i);
      with_one_scale(x + i, y + i, size, scale[channel], zero_point[channel], levels, writing);
    }
    i += size;
  }
  if (writing == Writing::kStream) hwy::FlushStream();
}

void with_own_ranges(const float* x, float* y, int64_t rows, int64_t features,
                     const AffineRule& rule, float* scale, float* zero_point, Writing writing) {
  for (int64_t row = 0; row < rows; ++row) {
    const MinMax range = range_of(x + row * features, features);
    const ScaleZeroPoint found = scale_zero_point(rule, range.min, range.max);
    with_one_scale(x + row * features, y + row * features, features, found.scale, found.zero_point,
                   rule.levels, writing);
    if (scale != nullptr) scale[row] = found.scale;
    if (zero_point != nullptr) zero_point[row] = found.zero_point;
  }
  if (writing == Writing::kStream) hwy::FlushStream();
}

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(with_channel_scales);
HWY_EXPORT(with_own_ranges);
HWY_EXPORT(target_name);

// A part that is worth a thread (about 10 microseconds), cut at multiples of a cache line.
constexpr int64_t kBlock = 16384;
constexpr int64_t kBlocksPerPart = 2;

// Results that would leave the caches before they are read.
constexpr int64_t kLargeBytes = 64 << 20;

Writing writing_of(const float* x, const float* y, int64_t size) {
  const bool large = size * static_cast<int64_t>(sizeof(float)) >= kLargeBytes;
  return large && x != y ? Writing::kStream : Writing::kCached;
}

void for_each_part(int64_t size, ParallelFor parallel_for,
                   const std::function<void(int64_t, int64_t)>& body) {
  const int64_t blocks = (size + kBlock - 1) / kBlock;
  parallel_for(0, blocks, kBlocksPerPart, [&](int64_t first, int64_t last) {
    body(first * kBlock, std::min(size, last * kBlock));
  });
}

}  // namespace

void fake_quantize_tensor(const float* x, float* y, int64_t size, float scale, float zero_point,
                          Levels levels, ParallelFor parallel_for) {
  fake_quantize_channels(x, y, 1, 1, size, &scale, &zero_point, levels, parallel_for);
}

void fake_quantize_channels(const float* x, float* y, int64_t outer, int64_t channels,
                            int64_t inner, const float* scale, const float* zero_point,
                            Levels levels, ParallelFor parallel_for) {
  const int64_t size = outer * channels * inner;
  const Writing writing = writing_of(x, y, size);
  for_each_part(size, parallel_for, [&](int64_t first, int64_t last) {
    HWY_DYNAMIC_DISPATCH(with_channel_scales)
    (x, y, first, last, channels, inner, scale, zero_point, levels, writing);
  });
}

void fake_quantize_rows_dynamic(const float* x, float* y, int64_t rows, int64_t features,
                                const AffineRule& rule, float* scale, float* zero_point,
                                ParallelFor parallel_for) {
  const int64_t grain = kBlocksPerPart * kBlock / std::max<int64_t>(features, 1) + 1;
  const Writing writing = writing_of(x, y, rows * features);
  parallel_for(0, rows, grain, [&](int64_t first, int64_t last) {
    HWY_DYNAMIC_DISPATCH(with_own_ranges)
    (x + first * features, y + first * features, last - first, features, rule,
     scale == nullptr ? nullptr : scale + first,
     zero_point == nullptr ? nullptr : zero_point + first, writing);
  });
}

const char* instruction_set() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace quell::kernels
#endif  // HWY_ONCE

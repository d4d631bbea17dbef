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
#include "framework/kernels/quotient-inl.h"

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

HWY_INLINE Vector load(const float* from) { return hn::LoadU(FloatTag(), from); }

// The first `count` values, less than a vector.
HWY_INLINE Vector load_some(const float* from, int64_t count) {
  const FloatTag tag;
  return hn::MaskedLoad(hn::FirstN(tag, static_cast<size_t>(count)), tag, from);
}

HWY_INLINE void store(Vector value, float* to, Writing writing) {
  if (writing == Writing::kStream) {
    hn::Stream(value, FloatTag(), to);
  } else {
    hn::StoreU(value, FloatTag(), to);
  }
}

HWY_INLINE void store_some(Vector value, float* to, int64_t count) {
  const FloatTag tag;
  hn::BlendedStore(value, hn::FirstN(tag, static_cast<size_t>(count)), tag, to);
}

// Values before the first that can be streamed, which starts a cache line.
int64_t values_before_line(const float* y, int64_t size) {
  constexpr uintptr_t kLine = 64;
  const uintptr_t beyond = reinterpret_cast<uintptr_t>(y) % kLine;
  return std::min(size, static_cast<int64_t>((kLine - beyond) % kLine / sizeof(float)));
}

// y = values(x, more...), where `more` are arguments for each value.
template <class Values, class... More>
HWY_INLINE void write_all(const float* x, float* y, int64_t size, Writing writing,
                          const Values& values, const More*... more) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(FloatTag()));
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    store(values(load(x + i), load(more + i)...), y + i, writing);
  }
  const int64_t rest = size - i;
  if (rest > 0) {
    store_some(values(load_some(x + i, rest), load_some(more + i, rest)...), y + i, rest);
  }
}

template <class Values, class... More>
HWY_INLINE void write(const float* x, float* y, int64_t size, Writing writing, const Values& values,
                      const More*... more) {
  const int64_t begin = writing == Writing::kStream ? values_before_line(y, size) : 0;
  write_all(x, y, begin, Writing::kCached, values, more...);
  write_all(x + begin, y + begin, size - begin, writing, values, (more + begin)...);
}

void with_one_scale(const float* x, float* y, int64_t size, float scale, float zero_point,
                    Levels levels, Writing writing) {
  const FloatTag tag;
  const Vector s = hn::Set(tag, scale), z = hn::Set(tag, zero_point);
  const Vector low = hn::Set(tag, levels.low), high = hn::Set(tag, levels.high);
  with_quotient<Vector>(scale, size, [&](const auto& quotient) {
    write(x, y, size, writing,
          [&](Vector v) { return value_of(code_of(quotient(v), z, low, high), s, z); });
  });
}

// A reciprocal would be one more argument to read, which costs what it saves.
void with_a_scale_each(const float* x, float* y, int64_t size, const float* scale,
                       const float* zero_point, Levels levels, Writing writing) {
  const FloatTag tag;
  const Vector low = hn::Set(tag, levels.low), high = hn::Set(tag, levels.high);
  const auto values = [&](Vector v, Vector s, Vector z) {
    return value_of(code_of(hn::Div(v, s), z, low, high), s, z);
  };
  write(x, y, size, writing, values, scale, zero_point);
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

// The ranges of short rows are taken together, because the steps of one wait for each other.
constexpr int64_t kRowsTogether = 8;
constexpr int64_t kValuesTogether = 2048;

void with_own_ranges(const float* x, float* y, int64_t rows, int64_t features,
                     const AffineRule& rule, float* scale, float* zero_point, Writing writing) {
  const int64_t together =
      std::clamp(kValuesTogether / std::max<int64_t>(features, 1), int64_t{1}, kRowsTogether);
  ScaleZeroPoint found[kRowsTogether];
  for (int64_t first = 0; first < rows; first += together) {
    const int64_t last = std::min(rows, first + together);
    for (int64_t row = first; row < last; ++row) {
      const MinMax range = range_of(x + row * features, features);
      found[row - first] = scale_zero_point(rule, range.min, range.max);
      if (scale != nullptr) scale[row] = found[row - first].scale;
      if (zero_point != nullptr) zero_point[row] = found[row - first].zero_point;
    }
    for (int64_t row = first; row < last; ++row) {
      with_one_scale(x + row * features, y + row * features, features, found[row - first].scale,
                     found[row - first].zero_point, rule.levels, writing);
    }
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
  parallel_for(0, (size + kBlock - 1) / kBlock, kBlocksPerPart, [&](int64_t first, int64_t last) {
    HWY_DYNAMIC_DISPATCH(with_channel_scales)
    (x, y, first * kBlock, std::min(size, last * kBlock), channels, inner, scale, zero_point,
     levels, writing);
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

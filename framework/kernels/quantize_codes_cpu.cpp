#include "framework/kernels/quantize_codes.h"

#include <algorithm>
#include <atomic>

#include "framework/kernels/min_max.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/quantize_codes_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/fake_quantize-inl.h"
#include "framework/kernels/min_max-inl.h"
#include "framework/kernels/quotient-inl.h"

#ifndef QUELL_QUANTIZE_CODES_PARTS
#define QUELL_QUANTIZE_CODES_PARTS
namespace quell::kernels {

// The arguments of quantize_codes_channels().
struct CodesByChannel {
  const float* x;
  Codes codes;
  float* y;
  int64_t channels;
  int64_t inner;
  const float* scale;
  const float* zero_point;
  Levels levels;
};

// The arguments of quantize_codes_rows_dynamic().
struct CodesByRow {
  const float* x;
  Codes codes;
  float* y;
  int64_t features;
  AffineRule rule;
  float* scale;
  float* zero_point;
};

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using Vector = hn::Vec<FloatTag>;

// Writes the codes of x and, unless it is null, y.
template <typename Code>
class Coder {
 public:
  Coder(const float* x, Code* codes, float* y, Levels levels)
      : x_(x),
        codes_(codes),
        y_(y),
        low_(hn::Set(FloatTag(), levels.low)),
        high_(hn::Set(FloatTag(), levels.high)),
        missing_(hn::Zero(FloatTag())) {}

  // Values first..first + size, which share a scale.
  void with_one_scale(int64_t first, int64_t size, float scale, float zero_point) {
    const Vector s = hn::Set(FloatTag(), scale), z = hn::Set(FloatTag(), zero_point);
    with_quotient<Vector>(scale, size, [&](const auto& quotient) {
      each_vector(size, [&](int64_t i, int64_t count) {
        quantize(first + i, count, quotient(load(x_ + first + i, count)), s, z);
      });
    });
  }

  // Values first..first + size, with a scale each.
  void with_a_scale_each(int64_t first, int64_t size, const float* scale, const float* zero_point) {
    each_vector(size, [&](int64_t i, int64_t count) {
      const Vector s = load(scale + i, count), z = load(zero_point + i, count);
      quantize(first + i, count, hn::Div(load(x_ + first + i, count), s), s, z);
    });
  }

  // Whether no value was NaN.
  bool complete() const { return hn::AllFalse(FloatTag(), hn::Lt(hn::Zero(FloatTag()), missing_)); }

 private:
  static constexpr int64_t kLanes = HWY_MAX_BYTES / sizeof(float);

  static int64_t lanes() { return static_cast<int64_t>(hn::Lanes(FloatTag())); }

  // `count` values, of which those beyond a vector do not matter; behind them is 1, which divides.
  static HWY_INLINE Vector load(const float* from, int64_t count) {
    if (count >= lanes()) return hn::LoadU(FloatTag(), from);
    HWY_ALIGN float buffer[kLanes];
    std::fill(std::copy(from, from + count, buffer), buffer + kLanes, 1.0f);
    return hn::Load(FloatTag(), buffer);
  }

  // Calls each(begin, count) for vectors of values.
  template <class Each>
  static HWY_INLINE void each_vector(int64_t size, const Each& each) {
    int64_t i = 0;
    for (; i + lanes() <= size; i += lanes()) each(i, lanes());
    if (i < size) each(i, size - i);
  }

  HWY_INLINE void quantize(int64_t at, int64_t count, Vector quotient, Vector scale,
                           Vector zero_point) {
    const FloatTag tag;
    const hn::Rebind<int32_t, FloatTag> integers;
    const hn::Rebind<Code, FloatTag> narrow;
    const Vector code = code_of(quotient, zero_point, low_, high_);
    const Vector value = value_of(code, scale, zero_point);
    const auto none = hn::IsNaN(code);
    missing_ = hn::IfThenElse(none, hn::Set(tag, 1.0f), missing_);
    const auto small =
        hn::DemoteTo(narrow, hn::ConvertTo(integers, hn::IfThenElse(none, low_, code)));
    if (count == lanes()) {
      hn::StoreU(small, narrow, codes_ + at);
      if (y_ != nullptr) hn::StoreU(value, tag, y_ + at);
      return;
    }
    HWY_ALIGN Code last_codes[kLanes];
    HWY_ALIGN float last_values[kLanes];
    hn::Store(small, narrow, last_codes);
    hn::Store(value, tag, last_values);
    std::copy(last_codes, last_codes + count, codes_ + at);
    if (y_ != nullptr) std::copy(last_values, last_values + count, y_ + at);
  }

  const float* x_;
  Code* codes_;
  float* y_;
  Vector low_, high_;
  Vector missing_;  // 1 in the lanes that have met a NaN
};

// Elements first..last of [outer, channels, inner].
template <typename Code>
bool by_channel(const CodesByChannel& of, int64_t first, int64_t last) {
  Coder<Code> coder(of.x, static_cast<Code*>(of.codes.data), of.y, of.levels);
  for (int64_t i = first; i < last;) {
    const int64_t channel = i / of.inner % of.channels;
    int64_t size = 0;
    if (of.inner == 1) {
      size = std::min(of.channels - channel, last - i);
      coder.with_a_scale_each(i, size, of.scale + channel, of.zero_point + channel);
    } else {
      size = std::min(of.inner - i % of.inner, last - i);
      coder.with_one_scale(i, size, of.scale[channel], of.zero_point[channel]);
    }
    i += size;
  }
  return coder.complete();
}

template <typename Code>
bool by_row(const CodesByRow& of, int64_t first, int64_t last) {
  Coder<Code> coder(of.x, static_cast<Code*>(of.codes.data), of.y, of.rule.levels);
  for (int64_t row = first; row < last; ++row) {
    const MinMax range = range_of(of.x + row * of.features, of.features);
    const ScaleZeroPoint found = scale_zero_point(of.rule, range.min, range.max);
    coder.with_one_scale(row * of.features, of.features, found.scale, found.zero_point);
    of.scale[row] = found.scale;
    of.zero_point[row] = found.zero_point;
  }
  return coder.complete();
}

bool codes_by_channel(const CodesByChannel& of, int64_t first, int64_t last) {
  switch (of.codes.type) {
    case CodeType::kInt8:
      return by_channel<int8_t>(of, first, last);
    case CodeType::kUint8:
      return by_channel<uint8_t>(of, first, last);
    case CodeType::kInt16:
      return by_channel<int16_t>(of, first, last);
    case CodeType::kUint16:
      return by_channel<uint16_t>(of, first, last);
  }
  return false;
}

bool codes_by_row(const CodesByRow& of, int64_t first, int64_t last) {
  switch (of.codes.type) {
    case CodeType::kInt8:
      return by_row<int8_t>(of, first, last);
    case CodeType::kUint8:
      return by_row<uint8_t>(of, first, last);
    case CodeType::kInt16:
      return by_row<int16_t>(of, first, last);
    case CodeType::kUint16:
      return by_row<uint16_t>(of, first, last);
  }
  return false;
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(codes_by_channel);
HWY_EXPORT(codes_by_row);

// Values that are worth a thread (about 10 microseconds), cut at multiples of a cache line.
constexpr int64_t kBlock = 16384;
constexpr int64_t kBlocksPerPart = 2;

}  // namespace

bool quantize_codes_tensor(const float* x, Codes codes, int64_t size, float scale, float zero_point,
                           Levels levels, float* y, ParallelFor parallel_for) {
  return quantize_codes_channels(x, codes, 1, 1, size, &scale, &zero_point, levels, y,
                                 parallel_for);
}

bool quantize_codes_channels(const float* x, Codes codes, int64_t outer, int64_t channels,
                             int64_t inner, const float* scale, const float* zero_point,
                             Levels levels, float* y, ParallelFor parallel_for) {
  const CodesByChannel of{x, codes, y, channels, inner, scale, zero_point, levels};
  const int64_t size = outer * channels * inner;
  std::atomic<bool> complete{true};
  parallel_for(0, (size + kBlock - 1) / kBlock, kBlocksPerPart, [&](int64_t first, int64_t last) {
    const int64_t end = std::min(size, last * kBlock);
    if (!HWY_DYNAMIC_DISPATCH(codes_by_channel)(of, first * kBlock, end)) complete = false;
  });
  return complete;
}

bool quantize_codes_rows_dynamic(const float* x, Codes codes, int64_t rows, int64_t features,
                                 const AffineRule& rule, float* scale, float* zero_point, float* y,
                                 ParallelFor parallel_for) {
  const CodesByRow of{x, codes, y, features, rule, scale, zero_point};
  const int64_t grain = kBlocksPerPart * kBlock / std::max<int64_t>(features, 1) + 1;
  std::atomic<bool> complete{true};
  parallel_for(0, rows, grain, [&](int64_t first, int64_t last) {
    if (!HWY_DYNAMIC_DISPATCH(codes_by_row)(of, first, last)) complete = false;
  });
  return complete;
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

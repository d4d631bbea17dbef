#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>

#include "framework/kernels/scaled_codes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/scaled_codes_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/fake_quantize-inl.h"
#include "framework/kernels/quotient-inl.h"
#include "framework/kernels/sums-inl.h"

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct Multiplied {
  HWY_INLINE Vector operator()(Vector x, Vector factor) const { return hn::Mul(x, factor); }
};

// Most divisors are 1, and divisions take as long as all the rest.
struct Divided {
  HWY_INLINE Vector operator()(Vector x, Vector divisor) const {
    const FloatTag tag;
    return hn::AllTrue(tag, hn::Eq(divisor, hn::Set(tag, 1.0f))) ? x : hn::Div(x, divisor);
  }
};

// Calls use(x, factor, count, first) on vectors of values that cover a row; the last one may repeat
// some of the one before. Rows of less than a vector are filled up with their first value.
template <class Use>
HWY_INLINE void cover(const float* x, const float* factor, int64_t features, const Use& use) {
  const FloatTag tag;
  if (features < kLanes) {
    HWY_ALIGN float values[kLanes], factors[kLanes];
    std::fill(std::copy(x, x + features, values), values + kLanes, x[0]);
    std::fill(std::copy(factor, factor + features, factors), factors + kLanes, factor[0]);
    return use(hn::Load(tag, values), hn::Load(tag, factors), features, 0);
  }
  int64_t i = 0;
  const auto at = [&](int64_t place) HWY_ATTR {
    use(hn::LoadU(tag, x + place), hn::LoadU(tag, factor + place), kLanes, place);
  };
  for (; i + kLanes <= features; i += kLanes) at(i);
  if (i < features) at(features - kLanes);
}

// Of some rows; see the header.
template <class Scaled, typename Code>
bool codes_of_rows(const float* x, const float* factor, int64_t rows, int64_t features,
                   const float* scale, const float* zero_point, int64_t of_row, Levels levels,
                   Code* codes) {
  const FloatTag tag;
  const hn::Rebind<Code, FloatTag> narrow;
  const Vector low = hn::Set(tag, levels.low), high = hn::Set(tag, levels.high);
  Vector missing = hn::Zero(tag);
  for (int64_t row = 0; row < rows; ++row) {
    const Vector zero = hn::Set(tag, zero_point[row * of_row]);
    Code* const to = codes + row * features;
    with_quotient<Vector>(scale[row * of_row], rows * features, [&](const auto& quotient) HWY_ATTR {
      cover(x + row * features, factor, features,
            [&](Vector value, Vector by, int64_t count, int64_t first) HWY_ATTR {
              const Vector code = code_of(quotient(Scaled()(value, by)), zero, low, high);
              const auto none = hn::IsNaN(code);
              missing = hn::IfThenElse(none, hn::Set(tag, 1.0f), missing);
              const auto small =
                  hn::DemoteTo(narrow, hn::ConvertTo(IntTag(), hn::IfThenElse(none, low, code)));
              if (count == kLanes) return hn::StoreU(small, narrow, to + first);
              HWY_ALIGN Code few[kLanes];
              hn::Store(small, narrow, few);
              std::copy_n(few, std::min<int64_t>(count, kLanes), to);
            });
    });
  }
  return hn::AllFalse(tag, hn::Lt(hn::Zero(tag), missing));
}

bool divided_codes(const float* x, const float* divisor, int64_t rows, int64_t features,
                   ScaleZeroPoint grid, Levels levels, uint8_t* codes) {
  return codes_of_rows<Divided>(x, divisor, rows, features, &grid.scale, &grid.zero_point, 0,
                                levels, codes);
}

bool multiplied_codes(const float* x, const float* factor, int64_t rows, int64_t features,
                      const float* scale, const float* zero_point, Levels levels, int8_t* codes) {
  return codes_of_rows<Multiplied>(x, factor, rows, features, scale, zero_point, 1, levels, codes);
}

void extremes_of_row(const float* x, const float* factor, int64_t features, float* min,
                     float* max) {
  const FloatTag tag;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Vector least = hn::Set(tag, kInfinity), most = hn::Set(tag, -kInfinity);
  auto any = hn::IsNaN(least);
  cover(x, factor, features, [&](Vector value, Vector by, int64_t, int64_t) HWY_ATTR {
    const Vector scaled = Multiplied()(value, by);
    any = hn::Or(any, hn::IsNaN(scaled));
    least = hn::Min(least, scaled);
    most = hn::Max(most, scaled);
  });
  const bool nan = !hn::AllFalse(tag, any);
  *min = nan ? std::numeric_limits<float>::quiet_NaN() : hn::GetLane(hn::MinOfLanes(tag, least));
  *max = nan ? *min : hn::GetLane(hn::MaxOfLanes(tag, most));
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(divided_codes);
HWY_EXPORT(multiplied_codes);
HWY_EXPORT(extremes_of_row);

// Rows that are worth a thread, about 10 microseconds.
int64_t grain_of(int64_t features) {
  constexpr int64_t kValues = 32768;
  return kValues / std::max<int64_t>(features, 1) + 1;
}

}  // namespace

bool quantize_divided_codes(const float* x, const float* divisor, int64_t rows, int64_t features,
                            ScaleZeroPoint grid, Levels levels, uint8_t* codes) {
  return HWY_DYNAMIC_DISPATCH(divided_codes)(x, divisor, rows, features, grid, levels, codes);
}

bool quantize_multiplied_codes(const float* x, const float* factor, int64_t rows, int64_t features,
                               const float* scale, const float* zero_point, Levels levels,
                               int8_t* codes, ParallelFor parallel_for) {
  std::atomic<bool> complete{true};
  parallel_for(0, rows, grain_of(features), [&](int64_t first, int64_t last) {
    if (!HWY_DYNAMIC_DISPATCH(multiplied_codes)(x + first * features, factor, last - first,
                                                features, scale + first, zero_point + first, levels,
                                                codes + first * features)) {
      complete = false;
    }
  });
  return complete;
}

void min_max_multiplied_rows(const float* x, const float* factor, int64_t rows, int64_t features,
                             float* min, float* max, ParallelFor parallel_for) {
  parallel_for(0, rows, grain_of(features), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      HWY_DYNAMIC_DISPATCH(extremes_of_row)
      (x + row * features, factor, features, min + row, max + row);
    }
  });
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

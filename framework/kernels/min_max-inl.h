// The range of contiguous values, for kernels that are compiled once per instruction set: see
// highway's rules on "-inl.h" headers for this include guard.
#if defined(QUELL_KERNELS_MIN_MAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_MIN_MAX_INL_H_
#undef QUELL_KERNELS_MIN_MAX_INL_H_
#else
#define QUELL_KERNELS_MIN_MAX_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <limits>

#include "framework/kernels/min_max.h"

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace range_detail {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;

// Per lane: the bounds so far, whatever the values. Comparisons instead of Min and Max, which
// disagree between instruction sets on NaN. Only `min` carries a NaN; canonical() copies it.
struct Bounds {
  Vector min;
  Vector max;

  HWY_INLINE void merge(const Bounds& other) {
    min = hn::IfThenElse(hn::Or(hn::Lt(other.min, min), hn::IsNaN(other.min)), other.min, min);
    max = hn::IfThenElse(hn::Lt(max, other.max), other.max, max);
  }
  HWY_INLINE void include(Vector x) { merge({x, x}); }
  MinMax of_all_lanes() const {
    const Tag tag;
    if (!hn::AllFalse(tag, hn::IsNaN(min))) {
      const float nan = std::numeric_limits<float>::quiet_NaN();
      return {nan, nan};
    }
    return {hn::GetLane(hn::MinOfLanes(tag, min)), hn::GetLane(hn::MaxOfLanes(tag, max))};
  }
};

HWY_INLINE Bounds no_bounds() {
  const Tag tag;
  return {hn::Set(tag, std::numeric_limits<float>::infinity()),
          hn::Set(tag, -std::numeric_limits<float>::infinity())};
}

// The same in half the time for finite values: `rest` becomes NaN where one was NaN or infinite,
// and then the bounds say nothing.
struct FiniteBounds {
  Bounds bounds;
  Vector rest;

  HWY_INLINE void include(Vector x) {
    bounds.min = hn::Min(bounds.min, x);
    bounds.max = hn::Max(bounds.max, x);
    rest = hn::MulAdd(x, hn::Zero(Tag()), rest);
  }
  HWY_INLINE bool failed() const { return !hn::AllFalse(Tag(), hn::IsNaN(rest)); }
};

// The range of whole vectors, in four chains, because each step waits for the one before. Returns
// how many values those are.
template <class LaneBounds>
HWY_INLINE int64_t include_vectors(const float* x, int64_t size, LaneBounds (&chains)[4]) {
  const Tag tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  int64_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    for (int64_t chain = 0; chain < 4; ++chain) {
      chains[chain].include(hn::LoadU(tag, x + i + chain * lanes));
    }
  }
  for (; i + lanes <= size; i += lanes) chains[0].include(hn::LoadU(tag, x + i));
  return i;
}

}  // namespace range_detail

inline MinMax range_of(const float* x, int64_t size) {
  namespace hn = hwy::HWY_NAMESPACE;
  using range_detail::Bounds;
  using range_detail::FiniteBounds;
  const FiniteBounds nothing = {range_detail::no_bounds(), hn::Zero(range_detail::Tag())};
  FiniteBounds finite[4] = {nothing, nothing, nothing, nothing};
  int64_t i = range_detail::include_vectors(x, size, finite);
  for (int64_t chain = 1; chain < 4; ++chain) {
    finite[0].rest = hn::Add(finite[0].rest, finite[chain].rest);
  }
  Bounds bounds[4] = {finite[0].bounds, finite[1].bounds, finite[2].bounds, finite[3].bounds};
  if (finite[0].failed()) {
    for (Bounds& chain : bounds) chain = range_detail::no_bounds();
    i = range_detail::include_vectors(x, size, bounds);
  }
  bounds[0].merge(bounds[1]);
  bounds[2].merge(bounds[3]);
  bounds[0].merge(bounds[2]);
  MinMax range = bounds[0].of_all_lanes();
  for (; i < size; ++i) merge({x[i], x[i]}, range);
  return canonical(range);
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

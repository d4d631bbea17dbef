// The exponentials of a softmax, for kernels that are compiled once per instruction set: see
// highway's rules on "-inl.h" headers for this include guard.
#if defined(QUELL_KERNELS_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_SOFTMAX_INL_H_
#undef QUELL_KERNELS_SOFTMAX_INL_H_
#else
#define QUELL_KERNELS_SOFTMAX_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "framework/kernels/activation-inl.h"
#include "framework/kernels/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float kNothing = -std::numeric_limits<float>::infinity();

// Turns products with `seen` keys into exponentials of scores less the largest; 0 up to `columns`,
// a multiple of kPanel. Returns their sum.
inline float exponentials(float* scores, int64_t seen, int64_t columns, float factor, float slope) {
  const FloatTag tag;
  std::fill(scores + seen, scores + columns, kNothing);
  const Vector by = hn::Set(tag, factor);
  Vector most[kVectors], sums[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) {
    most[v] = hn::Set(tag, kNothing);
    sums[v] = hn::Zero(tag);
  }
  for (int64_t c = 0; c < columns; c += kPanel) {
    for (int64_t v = 0; v < kVectors; ++v) {
      float* at = scores + c + v * kLanes;
      Vector score = hn::Mul(hn::Load(tag, at), by);
      if (slope != 0) {
        const auto position = hn::Iota(tag, static_cast<float>(c + v * kLanes));
        score = hn::MulAdd(hn::Set(tag, slope), position, score);
      }
      most[v] = hn::Max(most[v], score);
      hn::Store(score, tag, at);
    }
  }
  for (int64_t v = 1; v < kVectors; ++v) most[0] = hn::Max(most[0], most[v]);
  const Vector largest = hn::MaxOfLanes(tag, most[0]);
  const Vector least = hn::Set(tag, -87.0f);  // of exponential()
  for (int64_t c = 0; c < columns; c += kPanel) {
    for (int64_t v = 0; v < kVectors; ++v) {
      float* at = scores + c + v * kLanes;
      const Vector x = hn::Sub(hn::Load(tag, at), largest);
      Vector value = hn::IfThenZeroElse(hn::Lt(x, least), exponential(tag, x, hn::Zero(tag)));
      value = hn::IfThenElse(hn::IsNaN(x), x, value);
      sums[v] = hn::Add(sums[v], value);
      hn::Store(value, tag, at);
    }
  }
  return sum_by_halves(sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

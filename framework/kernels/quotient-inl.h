// Quotients of many numbers by one, for kernels that are compiled once per instruction set: see
// highway's rules on "-inl.h" headers for this include guard.
#if defined(QUELL_KERNELS_QUOTIENT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_QUOTIENT_INL_H_
#undef QUELL_KERNELS_QUOTIENT_INL_H_
#else
#define QUELL_KERNELS_QUOTIENT_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {

// Whether ByReciprocal may be used: what is left of a dividend, 2^-48 of it, must not underflow.
HWY_INLINE bool has_reciprocal(float divisor) { return divisor > 0x1p-60f && divisor < 0x1p60f; }

template <class V>
struct ByDivision {
  V divisor;

  HWY_INLINE V operator()(V x) const { return hwy::HWY_NAMESPACE::Div(x, divisor); }
};

// The same bits in fewer cycles, where has_reciprocal(divisor): x * (1 / divisor) is at most
// 1.5 units in the last place off, and one step with what is left of x rounds it right (P.
// Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990).
// But quotients below 2^-80 may be off in the last place. The step has to be exact: instruction
// sets without fused multiply-add divide.
template <class V>
struct ByReciprocal {
  V divisor;
  V reciprocal;

  HWY_INLINE V operator()(V x) const {
    namespace hn = hwy::HWY_NAMESPACE;
#if HWY_NATIVE_FMA
    const V near = hn::Mul(x, reciprocal);
    const V left = hn::NegMulAdd(near, divisor, x);
    const V right = hn::MulAdd(left, reciprocal, near);
    // What is left of an infinity is not a number.
    return hn::IfThenElse(hn::Lt(hn::Abs(near), hn::Inf(hn::DFromV<V>())), right, near);
#else
    return hn::Div(x, divisor);
#endif
  }
};

// use(quotient), where quotient(x) is x / divisor. `count`: how many are wanted; few divisions are
// done before the reciprocal is known.
template <class V, class Use>
HWY_INLINE auto with_quotient(float divisor, int64_t count, const Use& use) {
  constexpr int64_t kFew = 256;
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::DFromV<V> tag;
  const V all = hn::Set(tag, divisor);
  if (count < kFew || !has_reciprocal(divisor)) return use(ByDivision<V>{all});
  return use(ByReciprocal<V>{all, hn::Set(tag, 1 / divisor)});
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

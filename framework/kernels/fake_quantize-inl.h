// The steps of fake quantization (fake_quantize.h) on vectors, for kernels that are compiled once
// per instruction set: see highway's rules on "-inl.h" headers for this include guard.
#if defined(QUELL_KERNELS_FAKE_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_FAKE_QUANTIZE_INL_H_
#undef QUELL_KERNELS_FAKE_QUANTIZE_INL_H_
#else
#define QUELL_KERNELS_FAKE_QUANTIZE_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {

// max(code, low) and min(code, high), where NaN stays NaN: in Max and Min of x86 the second operand
// wins then; of other instruction sets they say nothing of NaN.
#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
template <class V>
HWY_INLINE V clamp(V code, V low, V high) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::Min(high, hn::Max(low, code));
}
#else
template <class V>
HWY_INLINE V clamp(V code, V low, V high) {
  namespace hn = hwy::HWY_NAMESPACE;
  code = hn::IfThenElse(hn::Lt(code, low), low, code);
  return hn::IfThenElse(hn::Lt(high, code), high, code);
}
#endif

// `quotient` is x / scale. From here on no step may be fused (MulAdd), or the last bits would
// differ between machines. Adding the zero point turns -0 into +0 even when it is 0.
template <class V>
HWY_INLINE V code_of(V quotient, V zero_point, V low, V high) {
  namespace hn = hwy::HWY_NAMESPACE;
  return clamp(hn::Add(hn::Round(quotient), zero_point), low, high);
}

template <class V>
HWY_INLINE V value_of(V code, V scale, V zero_point) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::Mul(hn::Sub(code, zero_point), scale);
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

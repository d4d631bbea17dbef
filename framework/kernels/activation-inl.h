// Exponentials, logarithms and activations, for kernels that are compiled once per instruction set:
// see highway's rules on "-inl.h" headers for this include guard. The bits are the same on all of
// them that have fused multiply-adds.
#if defined(QUELL_KERNELS_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_ACTIVATION_INL_H_
#undef QUELL_KERNELS_ACTIVATION_INL_H_
#else
#define QUELL_KERNELS_ACTIVATION_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {

// c0 + c1 x + c2 x^2 + ...
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> polynomial(D tag, hwy::HWY_NAMESPACE::Vec<D>, float c) {
  return hwy::HWY_NAMESPACE::Set(tag, c);
}
template <class D, class... More>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> polynomial(D tag, hwy::HWY_NAMESPACE::Vec<D> x, float c,
                                                 More... more) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::MulAdd(x, polynomial(tag, x, more...), hn::Set(tag, c));
}

// exp(x + rest) for a `rest` that is small beside x, with a relative error below 2^-23. x is taken
// to be within [-87, 87], where the result is a normal number; NaN becomes one of these.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> exponential(D tag, hwy::HWY_NAMESPACE::Vec<D> x,
                                                  hwy::HWY_NAMESPACE::Vec<D> rest) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::Rebind<int32_t, D> integers;
  x = hn::Min(hn::Max(x, hn::Set(tag, -87.0f)), hn::Set(tag, 87.0f));
  // x = n log 2 + r; n times the first part of log 2 is exact.
  const auto n = hn::Round(hn::Mul(x, hn::Set(tag, 1.44269504f)));
  auto r = hn::NegMulAdd(n, hn::Set(tag, 0x1.62ep-1f), x);
  r = hn::Add(hn::NegMulAdd(n, hn::Set(tag, 0x1.0bfbe8p-15f), r), rest);
  // Fitted to (exp(r) - 1 - r) / r^2 within log 2 / 2, to 3e-9 of exp(r).
  const auto second = polynomial(tag, r, 4.999999340e-01f, 1.666651997e-01f, 4.166839584e-02f,
                                 8.368796892e-03f, 1.381443104e-03f);
  const auto fraction = hn::Add(hn::MulAdd(hn::Mul(r, r), second, r), hn::Set(tag, 1.0f));
  const auto exponent = hn::Add(hn::ConvertTo(integers, n), hn::Set(integers, 127));
  return hn::Mul(fraction, hn::BitCast(tag, hn::ShiftLeft<23>(exponent)));
}

// log(x) of a normal number above 0, with a relative error below 2^-22.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> logarithm(D tag, hwy::HWY_NAMESPACE::Vec<D> x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::Rebind<int32_t, D> integers;
  // x = 2^n (1 + t) with 1 + t from sqrt(1 / 2) to sqrt(2).
  const auto bits = hn::BitCast(integers, x);
  const auto n = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(integers, 0x3f3504f3)));
  const auto one_and_t = hn::BitCast(tag, hn::Sub(bits, hn::ShiftLeft<23>(n)));
  const auto t = hn::Sub(one_and_t, hn::Set(tag, 1.0f));
  // Fitted to (log(1 + t) - t + t^2 / 2) / t^3, to 6e-9 of log(1 + t).
  const auto third =
      polynomial(tag, t, 3.333333171e-01f, -2.500082101e-01f, 2.000122701e-01f, -1.662335824e-01f,
                 1.420175605e-01f, -1.316017273e-01f, 1.276158513e-01f, -7.634529611e-02f);
  const auto second = hn::MulSub(t, third, hn::Set(tag, 0.5f));
  const auto fraction = hn::MulAdd(hn::Mul(t, t), second, t);
  return hn::MulAdd(hn::ConvertTo(tag, n), hn::Set(tag, 0.693147181f), fraction);
}

// An activation and its derivative.
template <class D>
struct Tangent {
  hwy::HWY_NAMESPACE::Vec<D> value, slope;
};

struct Identity {
  template <class D>
  HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> operator()(D, hwy::HWY_NAMESPACE::Vec<D> x) const {
    return x;
  }
  template <class D>
  HWY_INLINE Tangent<D> tangent(D tag, hwy::HWY_NAMESPACE::Vec<D> x) const {
    return {x, hwy::HWY_NAMESPACE::Set(tag, 1.0f)};
  }
};

struct Relu {
  template <class D>
  HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> operator()(D tag, hwy::HWY_NAMESPACE::Vec<D> x) const {
    namespace hn = hwy::HWY_NAMESPACE;
    return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(tag)), x);  // NaN stays
  }
  // At 0 the derivative is 0.
  template <class D>
  HWY_INLINE Tangent<D> tangent(D tag, hwy::HWY_NAMESPACE::Vec<D> x) const {
    namespace hn = hwy::HWY_NAMESPACE;
    return {(*this)(tag, x), hn::IfThenElseZero(hn::Gt(x, hn::Zero(tag)), hn::Set(tag, 1.0f))};
  }
};

// x Phi(x) = max(x, 0) - |x| Q(|x|) with the upper tail Q(a) = exp(-a^2 / 2) R(a), which cancels
// nowhere. NaN stays; -infinity becomes NaN, as 0 times infinity in LibTorch.
struct Gelu {
  template <class D>
  HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> operator()(D tag, hwy::HWY_NAMESPACE::Vec<D> x) const {
    return value(tag, x, tail(tag, x));
  }
  // Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi).
  template <class D>
  HWY_INLINE Tangent<D> tangent(D tag, hwy::HWY_NAMESPACE::Vec<D> x) const {
    namespace hn = hwy::HWY_NAMESPACE;
    const Tail<D> of = tail(tag, x);
    const auto beyond = hn::Mul(of.bell, of.ratio);
    const auto positive = hn::Gt(x, hn::Zero(tag));
    const auto phi = hn::IfThenElse(positive, hn::Sub(hn::Set(tag, 1.0f), beyond), beyond);
    const auto density = hn::Mul(of.bell, hn::Set(tag, 0.39894228f));
    return {value(tag, x, of), hn::MulAdd(hn::CopySign(of.size, x), density, phi)};
  }

 private:
  // Q(a) = bell * ratio, where a is |x| up to where Q is 0 in float32, and bell exp(-a^2 / 2).
  template <class D>
  struct Tail {
    hwy::HWY_NAMESPACE::Vec<D> size, bell, ratio;
  };

  template <class D>
  HWY_INLINE static Tail<D> tail(D tag, hwy::HWY_NAMESPACE::Vec<D> x) {
    namespace hn = hwy::HWY_NAMESPACE;
    const auto one = hn::Set(tag, 1.0f), half = hn::Set(tag, 0.5f);
    const auto a = hn::Min(hn::Abs(x), hn::Set(tag, 14.0f));
    // Fitted to R(a) / t with t = 1 / (1 + a / 4), to 9e-9 of it.
    const auto t = hn::Div(one, hn::MulAdd(a, hn::Set(tag, 0.25f), one));
    const auto ratio = hn::Mul(
        t, polynomial(tag, t, 9.974790352e-02f, 9.949255792e-02f, 9.551569959e-02f,
                      7.199954947e-02f, 8.665641262e-02f, 1.271289638e-02f, 2.843439484e-02f,
                      5.165353047e-02f, -6.279269304e-02f, 1.657975230e-02f));
    const auto square = hn::Mul(a, a), left = hn::MulSub(a, a, square);  // a^2 exactly
    const auto bell =
        exponential(tag, hn::Neg(hn::Mul(half, square)), hn::Neg(hn::Mul(half, left)));
    return {a, bell, ratio};
  }
  template <class D>
  HWY_INLINE static hwy::HWY_NAMESPACE::Vec<D> value(D tag, hwy::HWY_NAMESPACE::Vec<D> x,
                                                     const Tail<D>& of) {
    namespace hn = hwy::HWY_NAMESPACE;
    const auto half = hn::Set(tag, 0.5f);
    const auto positive = hn::MulAdd(half, x, hn::Mul(half, hn::Abs(x)));
    return hn::NegMulAdd(hn::Mul(of.size, of.bell), of.ratio, positive);
  }
};

// x (1 + tanh(u)) / 2 = x / (1 + exp(-2 u)) with u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  template <class D>
  HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> operator()(D tag, hwy::HWY_NAMESPACE::Vec<D> x) const {
    namespace hn = hwy::HWY_NAMESPACE;
    return hn::Div(x, divisor(tag, x));
  }
  // With s = 1 / (1 + exp(-2 u)): s + x s (1 - s) 2 u'.
  template <class D>
  HWY_INLINE Tangent<D> tangent(D tag, hwy::HWY_NAMESPACE::Vec<D> x) const {
    namespace hn = hwy::HWY_NAMESPACE;
    const auto one = hn::Set(tag, 1.0f);
    const auto below = divisor(tag, x), share = hn::Div(one, below), value = hn::Div(x, below);
    const auto steepness = hn::Mul(hn::MulAdd(hn::Mul(x, x), hn::Set(tag, 0.134145f), one),
                                   hn::Set(tag, 1.5957691216f));
    return {value, hn::MulAdd(hn::Mul(value, hn::Sub(one, share)), steepness, share)};
  }

 private:
  // 1 + exp(-2 u).
  template <class D>
  HWY_INLINE static hwy::HWY_NAMESPACE::Vec<D> divisor(D tag, hwy::HWY_NAMESPACE::Vec<D> x) {
    namespace hn = hwy::HWY_NAMESPACE;
    const auto one = hn::Set(tag, 1.0f);
    const auto cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(tag, 0.044715f), one);
    const auto exponent = hn::Mul(hn::Mul(x, hn::Set(tag, -1.5957691216f)), cubic);
    return hn::Add(one, exponential(tag, exponent, hn::Zero(tag)));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

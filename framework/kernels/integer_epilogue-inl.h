// From sums of products of codes to values and codes (integer_product.h), for kernels that are
// compiled once per instruction set: see highway's rules on "-inl.h" headers for this include
// guard.
#if defined(QUELL_KERNELS_INTEGER_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_INTEGER_EPILOGUE_INL_H_
#undef QUELL_KERNELS_INTEGER_EPILOGUE_INL_H_
#else
#define QUELL_KERNELS_INTEGER_EPILOGUE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "framework/kernels/activation-inl.h"
#include "framework/kernels/fake_quantize-inl.h"
#include "framework/kernels/integer_parts.h"
#include "framework/kernels/quotient-inl.h"
#include "framework/kernels/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Less than a vector goes through a buffer.
HWY_INLINE Vector load_some(const float* from, int64_t lanes) {
  if (lanes == kLanes) return hn::LoadU(FloatTag(), from);
  HWY_ALIGN float few[kLanes] = {};
  std::copy(from, from + lanes, few);
  return hn::Load(FloatTag(), few);
}
template <class V, class D, class T>
HWY_INLINE void store_some(V value, D tag, T* to, int64_t lanes) {
  if (lanes == kLanes) return hn::StoreU(value, tag, to);
  HWY_ALIGN T few[kLanes];
  hn::Store(value, tag, few);
  std::copy_n(few, std::min<int64_t>(lanes, kLanes), to);  // the bound is for GCC
}

// The code of activate(y) on a grid, as a float.
template <class Activate, class Quotient>
struct ExactCode {
  Vector zero, high;
  Activate activate;
  Quotient quotient;

  HWY_INLINE Vector operator()(Vector y) const {
    const FloatTag tag;
    return code_of(quotient(activate(tag, y)), zero, hn::Zero(tag), high);
  }
};

// Codes of GELU, most of them from an approximation: where it is as close to the middle between two
// codes as it may be off, which one out of some hundred vectors is, the vector is computed exactly.
template <class Exact>
struct NearGeluCode {
  // GELU(x) = max(x, 0) - T(|x|) with T(a) = a Q(a): cubics fitted to T in 16 intervals up to 5,
  // where it is 1.4e-6, to 4.8e-6. With the roundings of float32, GELU is off by less than this.
  static constexpr float kError = 8e-6f;
  // Steps from zero beyond which codes are clamped, whatever the rounding.
  static constexpr float kFarSteps = 1024;

  // How far a quotient may be off, in steps.
  static float error(float scale) { return kError / scale + kFarSteps * 0x1p-22f; }
  static bool suits(float scale) {
    constexpr float kMostError = 0.02f;  // or too few codes are sure
    return kLanes == kPanel && has_reciprocal(scale) && error(scale) < kMostError;
  }

  NearGeluCode(const Exact& exact_code, float scale)
      : exact(exact_code),
        inverse(hn::Set(FloatTag(), 1 / scale)),
        sure(hn::Set(FloatTag(), 0.5f - error(scale))) {}

  HWY_INLINE Vector operator()(Vector y) const {
    const FloatTag tag;
    const Vector quotient = hn::Mul(near_gelu(y), inverse), steps = hn::Round(quotient);
    // NaN and infinity are not sure.
    const auto known = hn::Lt(hn::Abs(hn::Sub(quotient, steps)), sure);
    if (HWY_UNLIKELY(!hn::AllTrue(tag, known))) return exactly(y);
    return clamp(hn::Add(steps, exact.zero), hn::Zero(tag), exact.high);
  }

 private:
  HWY_NOINLINE Vector exactly(Vector y) const { return exact(y); }

  static HWY_INLINE Vector near_gelu(Vector x) {
    const FloatTag tag;
    const Vector a = hn::Min(hn::Abs(x), hn::Set(tag, 4.9999f));
#if HWY_TARGET == HWY_SCALAR
    return a;  // suits() says no
#else
    HWY_ALIGN static constexpr float kTable[4][kPanel] = {
        {-4.708915640e-06f, -1.980421832e-03f, -6.773316301e-03f, 9.988079779e-03f,
         9.282776713e-02f, 2.555426359e-01f, 4.456917942e-01f, 5.752515793e-01f, 5.875798464e-01f,
         4.928624928e-01f, 3.474403918e-01f, 2.090841234e-01f, 1.086150333e-01f, 4.911091924e-02f,
         1.945050433e-02f, 6.781082600e-03f},
        {5.004847050e-01f, 5.186548233e-01f, 5.431542397e-01f, 4.923417866e-01f, 2.956308424e-01f,
         -1.668787934e-02f, -3.225472569e-01f, -5.023227930e-01f, -5.186184049e-01f,
         -4.181732535e-01f, -2.784956992e-01f, -1.574210078e-01f, -7.673420757e-02f,
         -3.259032220e-02f, -1.214794256e-02f, -3.995228093e-03f},
        {-4.067571163e-01f, -4.647697210e-01f, -5.068113804e-01f, -4.554027319e-01f,
         -2.993228436e-01f, -9.917031229e-02f, 6.500897557e-02f, 1.482217312e-01f, 1.553470343e-01f,
         1.198244989e-01f, 7.508620620e-02f, 3.975705430e-02f, 1.815115660e-02f, 7.232382428e-03f,
         2.535070525e-03f, 7.860360784e-04f},
        {4.052515700e-02f, 1.048990935e-01f, 1.290889233e-01f, 1.117264628e-01f, 7.034396380e-02f,
         2.751725540e-02f, -1.891502063e-03f, -1.473957673e-02f, -1.577144116e-02f,
         -1.158199087e-02f, -6.803525612e-03f, -3.366068471e-03f, -1.437030383e-03f,
         -5.365884863e-04f, -1.767315407e-04f, -5.163531750e-05f}};
    const auto interval = hn::IndicesFromVec(
        tag, hn::ConvertTo(IntTag(), hn::Mul(a, hn::Set(tag, 3.2f))));  // of 5 / 16
    const auto coefficient = [&](int64_t power) HWY_ATTR {
      return hn::TableLookupLanes(hn::Load(tag, kTable[power]), interval);
    };
    Vector tail = hn::MulAdd(coefficient(3), a, coefficient(2));
    tail = hn::MulAdd(tail, a, coefficient(1));
    tail = hn::MulAdd(tail, a, coefficient(0));
    return hn::Sub(hn::Max(x, hn::Zero(tag)), tail);
#endif
  }

  Exact exact;
  Vector inverse, sure;
};

// What follows the sums of a product.
class IntegerFinish {
 public:
  explicit IntegerFinish(const IntegerProduct& of) : of_(of), outputs_(of.weight.outputs()) {}

  void operator()(const TileOfSums& tile) const {
    if (of_.output.sums != nullptr) write_sums(tile);
    switch (of_.epilogue.activation) {
      case Activation::kNone:
        return write(tile, Identity());
      case Activation::kRelu:
        return write(tile, Relu());
      case Activation::kGelu:
        return write(tile, Gelu());
      case Activation::kGeluTanh:
        return write(tile, GeluTanh());
    }
  }

 private:
  // Calls use(first output, lanes, row, sums less what zero points make of them).
  template <class Use>
  HWY_INLINE void for_each_vector(const TileOfSums& tile, const Use& use) const {
    const IntTag tag;
    const IntegerRows& x = of_.x;
    const IntegerWeight& weight = of_.weight;
    const bool per_row = x.per_row, has_zero_points = weight.has_zero_points();
    const auto inputs = static_cast<int32_t>(weight.inputs());
    for (int64_t c = 0; c < tile.count; c += kLanes) {
      const int64_t lanes = std::min(kLanes, tile.count - c), output = tile.first + c;
      const Sums of_codes = hn::LoadU(tag, weight.sums() + output);
      const Sums zero_points = hn::LoadU(tag, weight.zero_point() + output);
      auto zero = static_cast<int32_t>(x.zero_point[0]);
      Sums less = hn::Mul(hn::Set(tag, zero), of_codes);
      for (int64_t r = 0; r < tile.rows; ++r) {
        const int64_t row = tile.first_row + r;
        if (per_row) {
          zero = static_cast<int32_t>(x.zero_point[row]);
          less = hn::Mul(hn::Set(tag, zero), of_codes);
        }
        Sums sums = hn::Sub(hn::Load(tag, tile.sums + r * tile.stride + c), less);
        if (has_zero_points) {
          const int32_t codes = tile.row_sums[r] - inputs * zero;
          sums = hn::Sub(sums, hn::Mul(hn::Set(tag, codes), zero_points));
        }
        use(output, lanes, row, sums);
      }
    }
  }

  HWY_NOINLINE void write_sums(const TileOfSums& tile) const {
    for_each_vector(tile, [&](int64_t output, int64_t lanes, int64_t row, Sums sums) HWY_ATTR {
      store_some(sums, IntTag(), of_.output.sums + row * outputs_ + output, lanes);
    });
  }

  // Calls use(place of the result, lanes, value before the activation).
  template <class Use>
  HWY_INLINE void for_each_value(const TileOfSums& tile, const Use& use) const {
    const FloatTag tag;
    const IntegerRows& x = of_.x;
    const float *scales = of_.weight.scale(), *biases = of_.epilogue.bias;
    const bool per_row = x.per_row;
    const float shared = x.scale[0];
    Vector scale = hn::Zero(tag), of_output = scale, bias = scale;
    int64_t prepared = -1;
    for_each_vector(tile, [&](int64_t output, int64_t lanes, int64_t row, Sums sums) HWY_ATTR {
      if (output != prepared) {
        of_output = hn::LoadU(tag, scales + output);
        scale = hn::Mul(hn::Set(tag, shared), of_output);
        if (biases != nullptr) bias = load_some(biases + output, lanes);
        prepared = output;
      }
      if (per_row) scale = hn::Mul(hn::Set(tag, x.scale[row]), of_output);
      Vector y = hn::Mul(hn::ConvertTo(tag, sums), scale);
      if (biases != nullptr) y = hn::Add(y, bias);
      use(row * outputs_ + output, lanes, y);
    });
  }

  template <class Activate>
  HWY_NOINLINE void write(const TileOfSums& tile, const Activate& activate) const {
    const FloatTag tag;
    const IntegerOutput& output = of_.output;
    if (output.codes == nullptr) {
      if (output.y == nullptr) return;
      for_each_value(tile, [&](int64_t place, int64_t lanes, Vector y) HWY_ATTR {
        store_some(activate(tag, y), tag, output.y + place, lanes);
      });
      return;
    }
    const float divisor = output.grid.scale;
    const Vector zero = hn::Set(tag, output.grid.zero_point);
    const Vector high = hn::Set(tag, output.grid.most);
    with_quotient<Vector>(divisor, 1 << 20, [&](const auto& quotient) HWY_ATTR {
      using Exact = ExactCode<Activate, std::decay_t<decltype(quotient)>>;
      const Exact exact{zero, high, activate, quotient};
      if constexpr (std::is_same_v<Activate, Gelu> && kLanes == kPanel) {
        using Near = NearGeluCode<Exact>;
        if (Near::suits(divisor)) return write_codes(tile, Near(exact, divisor), zero);
      }
      write_codes(tile, exact, zero);
    });
  }

  template <class Code>
  HWY_INLINE void write_codes(const TileOfSums& tile, const Code& code_of_value,
                              Vector zero) const {
    const FloatTag tag;
    const hn::Rebind<uint8_t, FloatTag> narrow;
    float* const values = of_.output.y;
    uint8_t* const codes = of_.output.codes;
    const Vector scale = hn::Set(tag, of_.output.grid.scale);
    for_each_value(tile, [&](int64_t place, int64_t lanes, Vector y) HWY_ATTR {
      const Vector code = code_of_value(y);
      if (values != nullptr) store_some(value_of(code, scale, zero), tag, values + place, lanes);
      store_some(hn::DemoteTo(narrow, hn::ConvertTo(IntTag(), code)), narrow, codes + place, lanes);
    });
  }

  const IntegerProduct& of_;
  const int64_t outputs_;
};

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

#include "framework/kernels/soft_rounding.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/soft_rounding_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/activation-inl.h"

#ifndef QUELL_SOFT_ROUNDING_PARTS
#define QUELL_SOFT_ROUNDING_PARTS
namespace quell::kernels {

// Sums are taken in this many lanes on every instruction set, each in runs of kRoundingRun float32
// values.
constexpr int64_t kRoundingLanes = 16;
constexpr int64_t kRoundingRun = 16;

}  // namespace quell::kernels
#endif

// What HWY_INLINE is for functions.
#undef QUELL_INLINE_LAMBDA
#define QUELL_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, kRoundingLanes>;
using Vector = hn::Vec<FloatTag>;

struct Share {
  Vector value;  // h
  Vector slope;  // dh / dv
};

// In the order of the published code: sigmoid, times 1.2, minus 0.1.
template <Relaxation kind>
HWY_INLINE Share share_of(Vector variable, Vector temperature) {
  const FloatTag tag;
  const Vector one = hn::Set(tag, 1.0f), zero = hn::Zero(tag);
  if (kind == Relaxation::kTemperatureSigmoid) variable = hn::Div(variable, temperature);
  const Vector p = hn::Div(one, hn::Add(one, exponential(tag, hn::Neg(variable), zero)));
  const Vector slope = hn::Mul(p, hn::Sub(one, p));
  switch (kind) {
    case Relaxation::kHardSigmoid: {
      const Vector stretched = hn::Add(hn::Mul(p, hn::Set(tag, 1.2f)), hn::Set(tag, -0.1f));
      const auto inside = hn::And(hn::Ge(stretched, zero), hn::Le(stretched, one));
      return {hn::Min(hn::Max(stretched, zero), one),
              hn::IfThenElseZero(inside, hn::Mul(slope, hn::Set(tag, 1.2f)))};
    }
    case Relaxation::kSigmoid:
      return {p, slope};
    case Relaxation::kTemperatureSigmoid:
      return {p, hn::Div(slope, temperature)};
  }
  return {p, slope};
}

struct Grid {
  Vector scale, zero_point, low, high;
};

HWY_INLINE Vector soft_weight(Vector lower, Vector share, const Grid& grid) {
  const Vector code = hn::Add(hn::Add(lower, share), grid.zero_point);
  const Vector clamped = hn::Min(hn::Max(code, grid.low), grid.high);
  return hn::Mul(hn::Sub(clamped, grid.zero_point), grid.scale);
}

// |2 h - 1|^beta and its derivative by h.
struct Power {
  Vector value, slope;
};

HWY_INLINE Power distance_power(Vector share, Vector beta) {
  const FloatTag tag;
  const Vector centred = hn::Sub(share, hn::Set(tag, 0.5f));
  const Vector distance = hn::Mul(hn::Abs(centred), hn::Set(tag, 2.0f));
  const Vector base = hn::Max(distance, hn::Set(tag, 1e-18f));
  const Vector exponent = hn::Mul(hn::Sub(beta, hn::Set(tag, 1.0f)), logarithm(tag, base));
  // Below 1e-13 a slope moves nothing, and its square would be slow to compute with.
  const Vector power = hn::IfThenElseZero(hn::Gt(exponent, hn::Set(tag, -30.0f)),
                                          exponential(tag, exponent, hn::Zero(tag)));
  const Vector slope = hn::Mul(hn::Mul(power, beta), hn::Set(tag, 2.0f));
  return {hn::Mul(power, base), hn::CopySign(slope, centred)};
}

// Adds the lanes that hold something to sums [kRoundingLanes].
HWY_INLINE void add_to(double* sums, Vector values, int64_t count) {
  HWY_ALIGN float buffer[kRoundingLanes];
  hn::Store(values, FloatTag(), buffer);
  for (int64_t i = 0; i < count; ++i) sums[i] += buffer[i];
}

// Calls add(i, count) -> Vector for runs of values, whose sum it gives. Value i is added in lane
// i % kRoundingLanes, whatever the width of vectors. `add` is to be inlined, so that whole vectors
// are known to be whole.
template <class Add>
HWY_INLINE double sum_over(int64_t size, const Add& add) {
  const FloatTag tag;
  const auto width = static_cast<int64_t>(hn::Lanes(tag));
  double lanes[kRoundingLanes] = {};
  for (int64_t run = 0; run < size; run += kRoundingRun * kRoundingLanes) {
    const int64_t end = std::min(size, run + kRoundingRun * kRoundingLanes);
    for (int64_t lane = 0; lane < kRoundingLanes; lane += width) {
      Vector sum = hn::Zero(tag);
      int64_t i = run + lane;
      for (; i + width <= end; i += kRoundingLanes) sum = hn::Add(sum, add(i, width));
      if (i < end) sum = hn::Add(sum, add(i, end - i));
      add_to(lanes + lane, sum, width);
    }
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

HWY_INLINE Vector load(const float* from, int64_t count) {
  const FloatTag tag;
  if (count == static_cast<int64_t>(hn::Lanes(tag))) return hn::LoadU(tag, from);
  return hn::MaskedLoad(hn::FirstN(tag, static_cast<size_t>(count)), tag, from);
}

HWY_INLINE void store(Vector values, float* to, int64_t count) {
  const FloatTag tag;
  if (count == static_cast<int64_t>(hn::Lanes(tag))) return hn::StoreU(values, tag, to);
  hn::BlendedStore(values, hn::FirstN(tag, static_cast<size_t>(count)), tag, to);
}

// Lanes behind `count` get a scale of 1, so that nothing is divided by 0.
HWY_INLINE Grid grid_at(const SoftWeights& of, int64_t i, int64_t count) {
  const FloatTag tag;
  const Vector low = hn::Set(tag, of.levels.low), high = hn::Set(tag, of.levels.high);
  if (of.one_scale) return {hn::Set(tag, *of.scale), hn::Set(tag, *of.zero_point), low, high};
  return {load(of.scale + i, count), load(of.zero_point + i, count), low, high};
}

// Moments of a gradient that has vanished fade away, and numbers below 1e-38 are slow to compute
// with.
HWY_INLINE Vector without_trace(Vector moment) {
  const FloatTag tag;
  return hn::IfThenElseZero(hn::Gt(hn::Abs(moment), hn::Set(tag, 1e-30f)), moment);
}

// A step on a stretch of weights, operation by operation: each of them is a long chain for one
// vector, so that the processor is busy only with several vectors of the same one.
template <Relaxation kind>
class Stretch {
 public:
  static constexpr int64_t kSize = 2 * kRoundingRun * kRoundingLanes;

  Stretch(const SoftWeights& of, const float* gradient, const RoundingStep& step)
      : of_(of), gradient_(gradient), step_(step) {}

  // Of weights first.. `size`, at most kSize. Returns the regularizer.
  double take(int64_t first, int64_t size) {
    first_ = first;
    size_ = size;
    find_shares();
    const double regularizer = differentiate();
    descend();
    soften();
    return regularizer;
  }

 private:
  template <class Work>
  HWY_INLINE void for_each_vector(const Work& work) const {
    constexpr auto kWidth = static_cast<int64_t>(hn::MaxLanes(FloatTag()));
    int64_t i = 0;
    for (; i + kWidth <= size_; i += kWidth) work(i, kWidth);
    if (i < size_) work(i, size_ - i);
  }

  void find_shares() {
    const Vector temperature = hn::Set(FloatTag(), step_.temperature);
    for_each_vector([&](int64_t i, int64_t count) QUELL_INLINE_LAMBDA {
      const Share share = share_of<kind>(load(of_.variable + first_ + i, count), temperature);
      hn::Store(share.value, FloatTag(), share_ + i);
      hn::Store(share.slope, FloatTag(), gradients_ + i);
    });
  }

  // gradients_ by the variables: of the loss inside of the grid, and of the regularizer, by h,
  // times its slope.
  double differentiate() {
    const FloatTag tag;
    const Vector factor = hn::Set(tag, step_.gradient_factor), one = hn::Set(tag, 1.0f);
    const Vector beta = hn::Set(tag, step_.beta), weight = hn::Set(tag, step_.regularizer);
    const bool regularized = step_.regularizer != 0;
    return sum_over(size_, [&](int64_t i, int64_t count) QUELL_INLINE_LAMBDA {
      const Grid grid = grid_at(of_, first_ + i, count);
      const Vector share = hn::Load(tag, share_ + i);
      const Vector code =
          hn::Add(hn::Add(load(of_.lower + first_ + i, count), share), grid.zero_point);
      const auto inside = hn::And(hn::Ge(code, grid.low), hn::Le(code, grid.high));
      Vector slope = hn::Mul(hn::Mul(load(gradient_ + first_ + i, count), factor), grid.scale);
      slope = hn::IfThenElseZero(inside, slope);
      Vector loss = hn::Zero(tag);
      if (regularized) {
        const Power power = distance_power(share, beta);
        slope = hn::Sub(slope, hn::Mul(weight, power.slope));
        loss = hn::Sub(one, power.value);
        if (count < static_cast<int64_t>(hn::Lanes(tag))) {
          loss = hn::IfThenElseZero(hn::FirstN(tag, static_cast<size_t>(count)), loss);
        }
      }
      hn::Store(hn::Mul(slope, hn::Load(tag, gradients_ + i)), tag, gradients_ + i);
      return loss;
    });
  }

  // torch.optim.Adam, but for a reciprocal.
  void descend() {
    const FloatTag tag;
    const Vector step_size = hn::Set(tag, step_.step_size);
    const Vector correction = hn::Set(tag, 1 / step_.second_correction);
    for_each_vector([&](int64_t i, int64_t count) QUELL_INLINE_LAMBDA {
      const int64_t at = first_ + i;
      const Vector g = hn::Load(tag, gradients_ + i);
      Vector first = load(of_.first + at, count), second = load(of_.second + at, count);
      first = without_trace(hn::Add(first, hn::Mul(hn::Set(tag, 0.1f), hn::Sub(g, first))));
      second = without_trace(hn::Add(hn::Mul(second, hn::Set(tag, 0.999f)),
                                     hn::Mul(hn::Mul(hn::Set(tag, 0.001f), g), g)));
      const Vector root = hn::Add(hn::Mul(hn::Sqrt(second), correction), hn::Set(tag, 1e-8f));
      store(first, of_.first + at, count);
      store(second, of_.second + at, count);
      store(hn::Sub(load(of_.variable + at, count), hn::Div(hn::Mul(step_size, first), root)),
            of_.variable + at, count);
    });
  }

  void soften() {
    const Vector temperature = hn::Set(FloatTag(), step_.next_temperature);
    for_each_vector([&](int64_t i, int64_t count) QUELL_INLINE_LAMBDA {
      const int64_t at = first_ + i;
      const Vector share = share_of<kind>(load(of_.variable + at, count), temperature).value;
      store(soft_weight(load(of_.lower + at, count), share, grid_at(of_, at, count)), of_.soft + at,
            count);
    });
  }

  const SoftWeights& of_;
  const float* gradient_;
  const RoundingStep& step_;
  int64_t first_ = 0, size_ = 0;
  HWY_ALIGN float share_[kSize], gradients_[kSize];  // h; dh / dv, then the gradient by v
};

template <Relaxation kind>
double take_step(const SoftWeights& of, const float* gradient, const RoundingStep& step) {
  constexpr int64_t kSize = Stretch<kind>::kSize;
  Stretch<kind> stretch(of, gradient, step);
  double regularizer = 0;
  for (int64_t i = 0; i < of.size; i += kSize) {
    regularizer += stretch.take(i, std::min(kSize, of.size - i));
  }
  return regularizer;
}

double rounding_step(const SoftWeights& of, const float* gradient, const RoundingStep& step) {
  switch (step.relaxation) {
    case Relaxation::kHardSigmoid:
      return take_step<Relaxation::kHardSigmoid>(of, gradient, step);
    case Relaxation::kSigmoid:
      return take_step<Relaxation::kSigmoid>(of, gradient, step);
    case Relaxation::kTemperatureSigmoid:
      return take_step<Relaxation::kTemperatureSigmoid>(of, gradient, step);
  }
  return 0;
}

template <Relaxation kind>
void soften(const SoftWeights& of, float temperature) {
  const FloatTag tag;
  const Vector heat = hn::Set(tag, temperature);
  const auto width = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t i = 0; i < of.size; i += width) {
    const int64_t count = std::min(width, of.size - i);
    const Vector share = share_of<kind>(load(of.variable + i, count), heat).value;
    store(soft_weight(load(of.lower + i, count), share, grid_at(of, i, count)), of.soft + i, count);
  }
}

void soft_weights(const SoftWeights& of, Relaxation relaxation, float temperature) {
  switch (relaxation) {
    case Relaxation::kHardSigmoid:
      return soften<Relaxation::kHardSigmoid>(of, temperature);
    case Relaxation::kSigmoid:
      return soften<Relaxation::kSigmoid>(of, temperature);
    case Relaxation::kTemperatureSigmoid:
      return soften<Relaxation::kTemperatureSigmoid>(of, temperature);
  }
}

template <class Activate>
double errors_behind(float* y, int64_t rows, int64_t columns, const OutputTargets& of) {
  const FloatTag tag;
  const auto width = static_cast<int64_t>(hn::Lanes(tag));
  const int64_t rows_per_run = std::max<int64_t>(1, kRoundingRun * 4 * kRoundingLanes / columns);
  double lanes[kRoundingLanes] = {};
  for (int64_t run = 0; run < rows; run += rows_per_run) {
    const int64_t last = std::min(rows, run + rows_per_run);
    for (int64_t lane = 0; lane < kRoundingLanes; lane += width) {
      Vector sum = hn::Zero(tag);
      for (int64_t row = run; row < last; ++row) {
        float* values = y + row * columns;
        const float* target = of.target + row * of.stride;
        for (int64_t i = lane; i < columns; i += kRoundingLanes) {
          const int64_t count = std::min(width, columns - i);
          Vector value = load(values + i, count);
          if (of.shift != nullptr) value = hn::Add(value, load(of.shift + i, count));
          const Tangent<FloatTag> output = Activate().tangent(tag, value);
          const Vector error = hn::Sub(output.value, load(target + i, count));
          store(hn::Mul(error, output.slope), values + i, count);
          sum = hn::Add(sum, hn::Mul(error, error));
        }
      }
      add_to(lanes + lane, sum, width);
    }
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

double output_errors(float* y, int64_t rows, int64_t columns, const OutputTargets& of) {
  switch (of.activation) {
    case Activation::kNone:
      return errors_behind<Identity>(y, rows, columns, of);
    case Activation::kRelu:
      return errors_behind<Relu>(y, rows, columns, of);
    case Activation::kGelu:
      return errors_behind<Gelu>(y, rows, columns, of);
    case Activation::kGeluTanh:
      return errors_behind<GeluTanh>(y, rows, columns, of);
  }
  return 0;
}

double products(const float* x, const float* y, const float* z, int64_t size) {
  return sum_over(size, [&](int64_t i, int64_t count) QUELL_INLINE_LAMBDA {
    return hn::Mul(load(x + i, count), hn::Add(load(y + i, count), load(z + i, count)));
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(rounding_step);
HWY_EXPORT(soft_weights);
HWY_EXPORT(output_errors);
HWY_EXPORT(products);

}  // namespace

double take_rounding_step(const SoftWeights& weights, const float* gradient,
                          const RoundingStep& step) {
  return HWY_DYNAMIC_DISPATCH(rounding_step)(weights, gradient, step);
}

void soften_weights(const SoftWeights& weights, Relaxation relaxation, float temperature) {
  HWY_DYNAMIC_DISPATCH(soft_weights)(weights, relaxation, temperature);
}

double take_output_errors(float* y, int64_t rows, int64_t columns, const OutputTargets& targets) {
  return HWY_DYNAMIC_DISPATCH(output_errors)(y, rows, columns, targets);
}

double sum_of_products(const float* x, const float* y, const float* z, int64_t size) {
  return HWY_DYNAMIC_DISPATCH(products)(x, y, z, size);
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

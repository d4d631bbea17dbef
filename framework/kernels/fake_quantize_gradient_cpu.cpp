#include "framework/kernels/fake_quantize_gradient.h"

#include <algorithm>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/fake_quantize_gradient_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#ifndef QUELL_FAKE_QUANTIZE_GRADIENT_PARTS
#define QUELL_FAKE_QUANTIZE_GRADIENT_PARTS
namespace quell::kernels {

// The arguments of fake_quantize_gradient().
struct FakeQuantizeGradient {
  const float* x;
  const float* dy;
  float* dx;
  const float* scale;
  const float* zero_point;
  Levels levels;
};

// Of the values of one scale: what dscale is, and the sum of dy outside of the grid.
struct GradientSums {
  double scale = 0;
  double outside = 0;
};

// Sums are taken in this many lanes on every instruction set, each in runs of kRun float32 values.
constexpr int64_t kLanes = 16;
constexpr int64_t kRun = 8;

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own. No step may be
// fused (MulAdd), or the last bits would differ between machines.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, kLanes>;
using Vector = hn::Vec<FloatTag>;

struct Affine {
  Vector scale, zero_point, low, high;
};

struct Gradients {
  Vector x;        // dx
  Vector scale;    // terms of dscale
  Vector outside;  // dy where the code is outside of the grid, else 0
};

// r - x / scale is exact.
HWY_INLINE Gradients gradients(Vector x, Vector dy, const Affine& grid) {
  const Vector quotient = hn::Div(x, grid.scale);
  const Vector rounded = hn::Round(quotient);
  const Vector code = hn::Add(rounded, grid.zero_point);
  const auto below = hn::Lt(code, grid.low);
  const auto above = hn::Lt(grid.high, code);
  const auto inside = hn::And(hn::Le(grid.low, code), hn::Le(code, grid.high));
  Vector slope = hn::Sub(rounded, quotient);
  slope = hn::IfThenElse(below, hn::Sub(grid.low, grid.zero_point), slope);
  slope = hn::IfThenElse(above, hn::Sub(grid.high, grid.zero_point), slope);
  return {hn::IfThenElseZero(inside, dy), hn::Mul(dy, slope), hn::IfThenZeroElse(inside, dy)};
}

HWY_INLINE void add_to(double* sums, Vector values, int64_t count) {
  HWY_ALIGN float buffer[kLanes];
  hn::Store(values, FloatTag(), buffer);
  for (int64_t i = 0; i < count; ++i) sums[i] += buffer[i];
}

// The gradients of `count` <= lanes values, whose terms are added to the two sums.
HWY_INLINE void add_gradients(const float* x, const float* dy, float* dx, int64_t count,
                              const Affine& grid, Vector& scale, Vector& outside) {
  const FloatTag tag;
  if (count == static_cast<int64_t>(hn::Lanes(tag))) {
    const Gradients found = gradients(hn::LoadU(tag, x), hn::LoadU(tag, dy), grid);
    hn::StoreU(found.x, tag, dx);
    scale = hn::Add(scale, found.scale);
    outside = hn::Add(outside, found.outside);
    return;
  }
  const auto some = hn::FirstN(tag, static_cast<size_t>(count));
  const Gradients found =
      gradients(hn::MaskedLoad(some, tag, x), hn::MaskedLoad(some, tag, dy), grid);
  hn::BlendedStore(found.x, some, tag, dx);
  scale = hn::Add(scale, found.scale);
  outside = hn::Add(outside, found.outside);
}

// Values first..last, which share the scale of `channel`. Value first + i is added in lane
// i % kLanes: narrower vectors go through each run several times.
GradientSums with_one_scale(const FakeQuantizeGradient& of, int64_t first, int64_t last,
                            int64_t channel) {
  const FloatTag tag;
  const int64_t width = static_cast<int64_t>(hn::Lanes(tag));
  const Affine grid{hn::Set(tag, of.scale[channel]), hn::Set(tag, of.zero_point[channel]),
                    hn::Set(tag, of.levels.low), hn::Set(tag, of.levels.high)};
  double scale_lanes[kLanes] = {}, outside_lanes[kLanes] = {};
  for (int64_t run = first; run < last; run += kRun * kLanes) {
    const int64_t end = std::min(last, run + kRun * kLanes);
    for (int64_t lane = 0; lane < kLanes; lane += width) {
      Vector scale = hn::Zero(tag), outside = hn::Zero(tag);
      int64_t i = run + lane;
      for (; i + width <= end; i += kLanes) {
        add_gradients(of.x + i, of.dy + i, of.dx + i, width, grid, scale, outside);
      }
      if (i < end) {
        add_gradients(of.x + i, of.dy + i, of.dx + i, end - i, grid, scale, outside);
      }
      add_to(scale_lanes + lane, scale, width);
      add_to(outside_lanes + lane, outside, width);
    }
  }
  GradientSums sums;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    sums.scale += scale_lanes[lane];
    sums.outside += outside_lanes[lane];
  }
  return sums;
}

// Rows first..last of [rows, channels], which have a scale per column; added to the two sums
// [channels].
void with_a_scale_per_column(const FakeQuantizeGradient& of, int64_t first, int64_t last,
                             int64_t channels, double* scale_sums, double* outside_sums) {
  const FloatTag tag;
  const int64_t width = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t run = first; run < last; run += kRun) {
    const int64_t end = std::min(last, run + kRun);
    for (int64_t column = 0; column < channels; column += width) {
      const int64_t count = std::min(width, channels - column);
      const auto some = hn::FirstN(tag, static_cast<size_t>(count));
      const Affine grid{hn::MaskedLoad(some, tag, of.scale + column),
                        hn::MaskedLoad(some, tag, of.zero_point + column),
                        hn::Set(tag, of.levels.low), hn::Set(tag, of.levels.high)};
      Vector scale = hn::Zero(tag), outside = hn::Zero(tag);
      for (int64_t row = run; row < end; ++row) {
        const int64_t i = row * channels + column;
        add_gradients(of.x + i, of.dy + i, of.dx + i, count, grid, scale, outside);
      }
      add_to(scale_sums + column, scale, count);
      add_to(outside_sums + column, outside, count);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(with_one_scale);
HWY_EXPORT(with_a_scale_per_column);

// Sums are taken over chunks of this many values, whatever the number of threads. Two of them are
// worth a thread.
constexpr int64_t kChunk = 16384;
// Where every column has sums of its own, a chunk must be high to be worth them.
constexpr int64_t kChunkRows = 256;

int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// How many pieces of `size` values are worth a thread.
int64_t grain(int64_t size) { return divide_up(2 * kChunk, std::max<int64_t>(size, 1)); }

// Stretches of `inner` values with one scale each, cut into chunks.
std::vector<GradientSums> over_stretches(const FakeQuantizeGradient& of, int64_t outer,
                                         int64_t channels, int64_t inner,
                                         ParallelFor parallel_for) {
  const int64_t chunks = divide_up(inner, kChunk);
  std::vector<GradientSums> parts(outer * channels * chunks);
  const auto take = [&](int64_t part) {
    const int64_t stretch = part / chunks;
    const int64_t begin = stretch * inner + part % chunks * kChunk;
    const int64_t end = std::min((stretch + 1) * inner, begin + kChunk);
    parts[part] = HWY_DYNAMIC_DISPATCH(with_one_scale)(of, begin, end, stretch % channels);
  };
  parallel_for(0, static_cast<int64_t>(parts.size()), grain(std::min(inner, kChunk)),
               [&](int64_t first, int64_t last) {
                 for (int64_t part = first; part < last; ++part) take(part);
               });
  std::vector<GradientSums> sums(channels);
  for (size_t part = 0; part < parts.size(); ++part) {
    GradientSums& sum = sums[static_cast<int64_t>(part) / chunks % channels];
    sum.scale += parts[part].scale;
    sum.outside += parts[part].outside;
  }
  return sums;
}

// A scale per column of [rows, channels], cut into chunks of rows.
std::vector<GradientSums> over_rows(const FakeQuantizeGradient& of, int64_t rows, int64_t channels,
                                    ParallelFor parallel_for) {
  const int64_t rows_per_chunk = std::max(kChunkRows, divide_up(kChunk, channels));
  const int64_t chunks = divide_up(rows, rows_per_chunk);
  std::vector<double> parts(2 * chunks * channels);
  parallel_for(0, chunks, grain(rows_per_chunk * channels), [&](int64_t first, int64_t last) {
    for (int64_t chunk = first; chunk < last; ++chunk) {
      double* sums = parts.data() + 2 * chunk * channels;
      HWY_DYNAMIC_DISPATCH(with_a_scale_per_column)
      (of, chunk * rows_per_chunk, std::min(rows, (chunk + 1) * rows_per_chunk), channels, sums,
       sums + channels);
    }
  });
  std::vector<GradientSums> sums(channels);
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const double* part = parts.data() + 2 * chunk * channels;
    for (int64_t channel = 0; channel < channels; ++channel) {
      sums[channel].scale += part[channel];
      sums[channel].outside += part[channels + channel];
    }
  }
  return sums;
}

}  // namespace

void fake_quantize_gradient(const float* x, const float* dy, float* dx, int64_t outer,
                            int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels, float* dscale,
                            float* dzero_point, ParallelFor parallel_for) {
  const FakeQuantizeGradient of{x, dy, dx, scale, zero_point, levels};
  const bool per_column = inner == 1 && channels > 1;
  const std::vector<GradientSums> sums =
      per_column      ? over_rows(of, outer, channels, parallel_for)
      : channels == 1 ? over_stretches(of, 1, 1, outer * inner, parallel_for)
                      : over_stretches(of, outer, channels, inner, parallel_for);
  for (int64_t channel = 0; channel < channels; ++channel) {
    dscale[channel] = static_cast<float>(sums[channel].scale);
    dzero_point[channel] = static_cast<float>(-sums[channel].outside * scale[channel]);
  }
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

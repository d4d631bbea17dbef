// Sums of products of codes of a tile of rows and panels, for kernels that are compiled once per
// instruction set: see highway's rules on "-inl.h" headers for this include guard.
#if defined(QUELL_KERNELS_INTEGER_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_INTEGER_TILE_INL_H_
#undef QUELL_KERNELS_INTEGER_TILE_INL_H_
#else
#define QUELL_KERNELS_INTEGER_TILE_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "framework/kernels/product_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kStepBytes = 4;  // of a row, and of an output
constexpr int64_t kPanelStep = kPanel * kStepBytes;

// A step of a row for all outputs of a vector.
HWY_INLINE Sums broadcast_step(const uint8_t* from) {
  int32_t step;
  std::memcpy(&step, from, sizeof(step));
  return hn::Set(IntTag(), step);
}

HWY_INLINE Sums load_step(const int8_t* from) {
  return hn::Load(IntTag(), reinterpret_cast<const int32_t*>(from));
}

// Routes (integer_product.h): how steps of a row are multiplied with those of a vector of outputs,
// and added. A row has `kTogether` steps at `x`; those of the panel are kPanelStep apart.

struct Wide {
  static constexpr int64_t kTogether = 1;

  static HWY_INLINE Sums add(Sums sum, const uint8_t* x, const int8_t* w) {
    const Sums values = broadcast_step(x), weights = load_step(w);
#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
    const hn::Repartition<int16_t, IntTag> wide;
    Sums unused = hn::Zero(IntTag());
    return hn::ReorderWidenMulAccumulate(IntTag(), hn::BitCast(wide, values),
                                         hn::BitCast(wide, weights), sum, unused);
#else
    const auto low = [](Sums pair) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(pair)); };
    const auto high = [](Sums pair) { return hn::ShiftRight<16>(pair); };
    sum = hn::Add(sum, hn::Mul(low(values), low(weights)));
    return hn::Add(sum, hn::Mul(high(values), high(weights)));
#endif
  }
};

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

template <int64_t kSteps>
struct Pairs {
  static constexpr int64_t kTogether = kSteps;

  static HWY_INLINE Sums add(Sums sum, const uint8_t* x, const int8_t* w) {
    const hn::Repartition<int16_t, IntTag> wide;
    auto pairs = multiply(broadcast_step(x), load_step(w));
    for (int64_t i = 1; i < kSteps; ++i) {
      pairs = hn::Add(pairs,
                      multiply(broadcast_step(x + i * kStepBytes), load_step(w + i * kPanelStep)));
    }
    Sums unused = hn::Zero(IntTag());
    return hn::ReorderWidenMulAccumulate(IntTag(), pairs, hn::Set(wide, int16_t{1}), sum, unused);
  }

 private:
  static HWY_INLINE hn::Vec<hn::Repartition<int16_t, IntTag>> multiply(Sums x, Sums w) {
#if HWY_TARGET == HWY_AVX2
    return {_mm256_maddubs_epi16(x.raw, w.raw)};
#else
    return {_mm512_maddubs_epi16(x.raw, w.raw)};
#endif
  }
};

// The instruction is no part of either set: the caller asks the processor for it. It is written
// out because a compiler has its intrinsic only in functions that are compiled for it as a whole.
struct Dot {
  static constexpr int64_t kTogether = 1;

  static HWY_INLINE Sums add(Sums sum, const uint8_t* x, const int8_t* w) {
    const Sums values = broadcast_step(x), weights = load_step(w);
#if HWY_TARGET == HWY_AVX2
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum.raw) : "x"(values.raw), "x"(weights.raw));
#else
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(values.raw), "v"(weights.raw));
#endif
    return sum;
  }
};

// The instruction itself: nothing of one pair is added to another in 16 bits.
using Saturating = Pairs<1>;

#else

struct Saturating {
  static constexpr int64_t kTogether = 1;

  static HWY_INLINE Sums add(Sums sum, const uint8_t* x, const int8_t* w) {
    const Sums values = broadcast_step(x), weights = load_step(w);
    const Sums first = pair(hn::ShiftLeft<16>(values), hn::ShiftLeft<16>(weights));
    return hn::Add(hn::Add(sum, first), pair(values, weights));
  }

 private:
  // Of the upper two codes.
  static HWY_INLINE Sums pair(Sums x, Sums w) {
    const IntTag tag;
    const Sums byte = hn::Set(tag, 0xff);
    const Sums high = hn::Mul(hn::And(hn::ShiftRight<24>(x), byte), hn::ShiftRight<24>(w));
    const Sums low =
        hn::Mul(hn::And(hn::ShiftRight<16>(x), byte), hn::ShiftRight<24>(hn::ShiftLeft<8>(w)));
    const Sums both = hn::Add(high, low);
    return hn::Max(hn::Set(tag, -32768), hn::Min(both, hn::Set(tag, 32767)));
  }
};

#endif  // AVX2 or AVX3

struct CodeTile {
  const uint8_t* x;  // steps of a row one after another
  int64_t x_stride;
  const int8_t* panel;
  int64_t panel_stride;
  int64_t steps;   // a multiple of kTogether
  int32_t* sums;   // aligned
  int64_t stride;  // of the sums of a row
};

template <class Route, int64_t kRows, int64_t kPanels>
HWY_NOINLINE void sum_codes(const CodeTile& tile) {
  constexpr int64_t kColumns = kPanels * kVectors;
  constexpr int64_t kAheadBytes = kAhead * 4;
  const IntTag tag;
  const uint8_t* HWY_RESTRICT x = tile.x;
  const int8_t* HWY_RESTRICT panel = tile.panel;
  const int64_t x_stride = tile.x_stride, panel_stride = tile.panel_stride;
  Sums sums[kRows][kColumns];
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kColumns; ++c) sums[r][c] = hn::Zero(tag);
  }
  for (int64_t step = 0; step < tile.steps; step += Route::kTogether) {
    if (kPanels == panels_of_tile(kMostRows)) {
      for (int64_t p = 0; p < kPanels; ++p) hwy::Prefetch(panel + p * panel_stride + kAheadBytes);
    }
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < kColumns; ++c) {
        const int8_t* w = panel + c / kVectors * panel_stride + c % kVectors * kLanes * kStepBytes;
        sums[r][c] = Route::add(sums[r][c], x + r * x_stride, w);
      }
    }
    x += Route::kTogether * kStepBytes;
    panel += Route::kTogether * kPanelStep;
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kColumns; ++c) {
      hn::Store(sums[r][c], tag, tile.sums + r * tile.stride + c * kLanes);
    }
  }
}

using SumCodes = void (*)(const CodeTile&);

// sum_codes() for 1..kMostRows rows: of a single panel, and of as many as suit the rows.
struct CodeTileFunctions {
  std::array<SumCodes, kMostRows + 1> single, wide;
};

template <class Route, int64_t... kLess>
constexpr CodeTileFunctions code_tile_functions(std::integer_sequence<int64_t, kLess...>) {
  return {{nullptr, sum_codes<Route, kLess + 1, 1>...},
          {nullptr, sum_codes<Route, kLess + 1, panels_of_tile(kLess + 1)>...}};
}

template <class Route>
constexpr CodeTileFunctions kCodeTiles =
    code_tile_functions<Route>(std::make_integer_sequence<int64_t, kMostRows>());

// Whether the processor beside this instruction set has that of Dot.
inline bool multiplies_fours() {
#if HWY_TARGET == HWY_AVX3
  return __builtin_cpu_supports("avx512vnni") != 0;
#elif HWY_TARGET == HWY_AVX2
  return __builtin_cpu_supports("avxvnni") != 0;
#else
  return false;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

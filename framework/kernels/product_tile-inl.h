// Sums of products of a tile of rows and panels, for kernels that are compiled once per instruction
// set: see highway's rules on "-inl.h" headers for this include guard.
#if defined(QUELL_KERNELS_PRODUCT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_PRODUCT_TILE_INL_H_
#undef QUELL_KERNELS_PRODUCT_TILE_INL_H_
#else
#define QUELL_KERNELS_PRODUCT_TILE_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "framework/kernels/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The largest tile: rows for which sums, weights and a value fit into the registers.
constexpr int64_t kMostRows = kLanes == 16 ? 12 : 6;

// Panels of a tile of `rows`: at least 8 sums in flight hide the latency of multiply-adds.
constexpr int64_t panels_of_tile(int64_t rows) {
  const int64_t with_8_lanes = rows >= 4 ? 1 : rows >= 2 ? 2 : 4;
  return std::max<int64_t>(1, with_8_lanes * kLanes / 8);
}

// How far ahead weights are fetched: a page, where the processor's own prefetching ends.
constexpr int64_t kAhead = 1024;

// Sums of some rows and panels over the inputs of a block.
struct Tile {
  const float* x;
  int64_t x_stride;
  const float* panel;
  int64_t panel_stride;
  int64_t depth;
  bool first;  // block: sums are stored, else added to y
  float* y;
  int64_t y_stride;
};

template <int64_t kRows, int64_t kPanels>
HWY_NOINLINE void sum_tile(const Tile& tile) {
  constexpr int64_t kColumns = kPanels * kVectors;
  const FloatTag tag;
  const float* HWY_RESTRICT x = tile.x;
  const float* HWY_RESTRICT panel = tile.panel;
  const int64_t x_stride = tile.x_stride, panel_stride = tile.panel_stride, depth = tile.depth;
  Vector sums[kRows][kColumns];
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kColumns; ++c) sums[r][c] = hn::Zero(tag);
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vector weights[kColumns];
    for (int64_t c = 0; c < kColumns; ++c) {
      weights[c] = hn::Load(tag, panel + c / kVectors * panel_stride + c % kVectors * kLanes);
    }
    // With more panels there are few rows, and more streams than are worth fetching by hand.
    if (kPanels == panels_of_tile(kMostRows)) {
      for (int64_t p = 0; p < kPanels; ++p) hwy::Prefetch(panel + p * panel_stride + kAhead);
    }
    for (int64_t r = 0; r < kRows; ++r) {
      const Vector value = hn::Set(tag, x[r * x_stride]);
      for (int64_t c = 0; c < kColumns; ++c) {
        sums[r][c] = hn::MulAdd(value, weights[c], sums[r][c]);
      }
    }
    ++x;
    panel += kPanel;
  }
  float* y = tile.y;
  const int64_t y_stride = tile.y_stride;
  const bool first = tile.first;
  for (int64_t r = 0; r < kRows; ++r, y += y_stride) {
    for (int64_t c = 0; c < kColumns; ++c) {
      float* to = y + c * kLanes;
      hn::StoreU(first ? sums[r][c] : hn::Add(hn::LoadU(tag, to), sums[r][c]), tag, to);
    }
  }
}

using SumTile = void (*)(const Tile&);

// sum_tile() for 1..kMostRows rows: of a single panel, and of as many as suit the rows.
struct TileFunctions {
  std::array<SumTile, kMostRows + 1> single, wide;
};

template <int64_t... kLess>
constexpr TileFunctions tile_functions(std::integer_sequence<int64_t, kLess...>) {
  return {{nullptr, sum_tile<kLess + 1, 1>...},
          {nullptr, sum_tile<kLess + 1, panels_of_tile(kLess + 1)>...}};
}

constexpr TileFunctions kTiles = tile_functions(std::make_integer_sequence<int64_t, kMostRows>());

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

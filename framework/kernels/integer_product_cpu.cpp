#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <utility>

#include "framework/kernels/integer_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/integer_product_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/amx.h"
#include "framework/kernels/integer_epilogue-inl.h"
#include "framework/kernels/integer_parts.h"
#include "framework/kernels/integer_tile-inl.h"
#include "framework/kernels/narrow_codes-inl.h"

#ifndef QUELL_INTEGER_PRODUCT_PARTS
#define QUELL_INTEGER_PRODUCT_PARTS
namespace quell::kernels {

constexpr int64_t kIntegerRowsOfPart = 96;

// Of a row as products read it; see IntegerWeight::steps().
inline int64_t row_bytes(const IntegerWeight& weight) { return weight.steps() * 4; }
// Whether that is how rows of codes lie.
inline bool reads_in_place(const IntegerWeight& weight) {
  return weight.route() != IntegerRoute::kWide && row_bytes(weight) == weight.inputs();
}

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

static_assert(kPanel == IntegerWeight::kPanel);

// Null where this instruction set has no such route.
inline const CodeTileFunctions* code_tiles(IntegerRoute route, int64_t steps_together) {
  if (route == IntegerRoute::kWide) return &kCodeTiles<Wide>;
  if (route == IntegerRoute::kSaturating) return &kCodeTiles<Saturating>;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  if (route == IntegerRoute::kDot) return &kCodeTiles<Dot>;
  switch (steps_together) {
    case 1:
      return &kCodeTiles<Pairs<1>>;
    case 2:
      return &kCodeTiles<Pairs<2>>;
    case 4:
      return &kCodeTiles<Pairs<4>>;
    case 8:
      return &kCodeTiles<Pairs<8>>;
    default:
      return nullptr;
  }
#else
  static_cast<void>(steps_together);
  return nullptr;
#endif
}

constexpr int64_t kMostColumns = panels_of_tile(1) * kPanel;  // of a tile
constexpr int64_t kMostSums =
    std::max(kMostRows * kMostColumns, amx::kMostRows* amx::kMostPanels* kPanel);

// One part of a product. `scratch` has row_bytes() for each of its rows, in whole tiles of AMX,
// unless they are read in place; then for the rows of one such tile.
class IntegerPart {
 public:
  IntegerPart(const IntegerProduct& of, const PartOfIntegers& part, uint8_t* scratch)
      : of_(of),
        part_(part),
        rows_(part.last_row - part.first_row),
        outputs_(of.weight.outputs()),
        inputs_(of.weight.inputs()),
        in_tiles_(of.weight.route() == IntegerRoute::kTiles),
        x_stride_(row_bytes(of.weight)),
        finish_(of) {
    read_rows(scratch);
  }

  void compute() { in_tiles_ ? compute_with_amx() : compute_with_vectors(); }

 private:
  void read_rows(uint8_t* scratch) {
    const uint8_t* from = of_.x.codes + part_.first_row * inputs_;
    for (int64_t r = 0; of_.weight.has_zero_points() && r < rows_; ++r) {
      row_sums_[r] = sum_of_codes(from + r * inputs_);
    }
    // AMX reads 16 rows at once: where they end earlier, from a copy.
    const int64_t whole = rows_ / amx::kTileRows * amx::kTileRows;
    const bool in_place = reads_in_place(of_.weight);
    const int64_t first_copied = !in_place ? 0 : in_tiles_ ? whole : rows_;
    x_ = in_place ? from : scratch;
    last_x_ = in_tiles_ ? scratch + (whole - first_copied) * x_stride_ : nullptr;
    const int64_t together = of_.weight.steps_together() * kStepBytes;
    for (int64_t r = first_copied; r < rows_; ++r, scratch += x_stride_) {
      std::memset(scratch + x_stride_ - together, 0, static_cast<size_t>(together));
      if (of_.weight.route() == IntegerRoute::kWide) {
        widen(from + r * inputs_, scratch);
      } else {
        std::copy_n(from + r * inputs_, inputs_, scratch);
      }
    }
    if (in_tiles_ && rows_ > whole) {
      std::memset(scratch, 0, static_cast<size_t>((whole + amx::kTileRows - rows_) * x_stride_));
    }
  }

  int32_t sum_of_codes(const uint8_t* codes) const {
    int64_t k = 0;
    int32_t sum = 0;
#if HWY_TARGET != HWY_SCALAR
    const hn::ScalableTag<uint8_t> tag;
    const hn::Repartition<uint64_t, decltype(tag)> sums;
    constexpr auto kMany = static_cast<int64_t>(hn::MaxLanes(tag));
    auto all = hn::Zero(sums);
    for (; k + kMany <= inputs_; k += kMany) {
      all = hn::Add(all, hn::SumsOf8(hn::LoadU(tag, codes + k)));
    }
    sum = static_cast<int32_t>(hn::GetLane(hn::SumOfLanes(sums, all)));
#endif
    for (; k < inputs_; ++k) sum += codes[k];
    return sum;
  }

  void widen(const uint8_t* from, uint8_t* to) const {
    int64_t k = 0;
#if HWY_TARGET != HWY_SCALAR
    const hn::Repartition<uint16_t, IntTag> wide;
    const hn::Rebind<uint8_t, decltype(wide)> narrow;
    constexpr auto kMany = static_cast<int64_t>(hn::MaxLanes(wide));
    for (; k + kMany <= inputs_; k += kMany) {
      hn::StoreU(hn::PromoteTo(wide, hn::LoadU(narrow, from + k)), wide,
                 reinterpret_cast<uint16_t*>(to) + k);
    }
#endif
    for (; k < inputs_; ++k) {
      const uint16_t code = from[k];
      std::memcpy(to + 2 * k, &code, sizeof(code));
    }
  }

  void compute_with_vectors() {
    const CodeTileFunctions& functions =
        *code_tiles(of_.weight.route(), of_.weight.steps_together());
    const int64_t tiles = (rows_ + kMostRows - 1) / kMostRows;
    const int64_t wide = panels_of_tile((rows_ + tiles - 1) / tiles);
    for (int64_t p = part_.first_panel; p < part_.last_panel; p += wide) {
      const int64_t last = std::min(p + wide, part_.last_panel);
      for (int64_t t = 0; t < tiles; ++t) {
        compute_tile(functions, rows_ * t / tiles, rows_ * (t + 1) / tiles, p, last);
      }
    }
  }

  // Rows of the part.
  void compute_tile(const CodeTileFunctions& functions, int64_t first_row, int64_t last_row,
                    int64_t panel, int64_t last_panel) {
    const int64_t rows = last_row - first_row, wide = panels_of_tile(rows);
    while (panel < last_panel) {
      const bool one = panel + wide > last_panel;
      const int64_t panels = one ? 1 : wide;
      const int64_t stride = panels * kPanel;
      (one ? functions.single : functions.wide)[static_cast<size_t>(rows)](
          {x_ + first_row * x_stride_, x_stride_, panel_at(panel), of_.weight.panel_bytes(),
           of_.weight.steps(), sums_, stride});
      finish(first_row, rows, panel, panels);
      panel += panels;
    }
  }

  void compute_with_amx() {
    const amx::Tiles tiles;
    const int64_t whole = rows_ / amx::kTileRows * amx::kTileRows;
    const auto rows_at = [&](int64_t row) -> const uint8_t* {
      if (row >= rows_) return nullptr;
      return row < whole ? x_ + row * x_stride_ : last_x_;
    };
    for (int64_t p = part_.first_panel; p < part_.last_panel; p += amx::kMostPanels) {
      const int64_t panels = std::min(amx::kMostPanels, part_.last_panel - p);
      for (int64_t row = 0; row < rows_; row += amx::kMostRows) {
        amx::sum_codes({{rows_at(row), rows_at(row + amx::kTileRows)},
                        x_stride_,
                        panel_at(p),
                        of_.weight.panel_bytes(),
                        panels,
                        of_.weight.steps() * kStepBytes / amx::kTileInputs,
                        sums_,
                        panels * kPanel});
        finish(row, std::min(amx::kMostRows, rows_ - row), p, panels);
      }
    }
  }

  const int8_t* panel_at(int64_t panel) const {
    return part_.panels + (panel - part_.first_panel) * of_.weight.panel_bytes();
  }

  void finish(int64_t first_row, int64_t rows, int64_t panel, int64_t panels) const {
    const int64_t first = panel * kPanel, stride = panels * kPanel;
    finish_({part_.first_row + first_row, rows, first, std::min(stride, outputs_ - first), sums_,
             stride, row_sums_ + first_row});
  }

  const IntegerProduct& of_;
  const PartOfIntegers& part_;
  const int64_t rows_, outputs_, inputs_;
  const bool in_tiles_;
  const uint8_t *x_, *last_x_;
  const int64_t x_stride_;
  const IntegerFinish finish_;
  int32_t row_sums_[kIntegerRowsOfPart];
  HWY_ALIGN int32_t sums_[kMostSums];
};

void compute_integers(const IntegerProduct& of, const PartOfIntegers& part, uint8_t* scratch) {
  IntegerPart(of, part, scratch).compute();
}

// Panels of fewer than 8 bits as products read them; `to` has room for whole blocks.
void unpack_panels(const IntegerWeight& weight, int64_t first, int64_t last, int8_t* to) {
  const int64_t codes = (last - first) * weight.codes_of_panel();
  const int64_t blocks = (codes + kNarrowBlock - 1) / kNarrowBlock;
  const uint8_t* from = weight.narrow_panels(first);
  if (weight.route() == IntegerRoute::kWide) {
    unpack_narrow_widened(from, blocks, weight.bits(), reinterpret_cast<int16_t*>(to));
  } else {
    unpack_narrow(from, blocks, weight.bits(), to);
  }
}

// What this instruction set has, and the processor beside it.
bool has_pairs() { return HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3; }

bool has_dot() { return multiplies_fours(); }
bool has_tiles() { return HWY_TARGET == HWY_AVX3 && amx::available(); }

const char* name_of_target() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(compute_integers);
HWY_EXPORT(unpack_panels);
HWY_EXPORT(has_pairs);
HWY_EXPORT(has_dot);
HWY_EXPORT(has_tiles);
HWY_EXPORT(name_of_target);

constexpr int64_t kPanelsOfPart =
    IntegerWeight::kPanelsUnpacked;         // whose weights fit into the second-level cache
constexpr int64_t kWorthAThread = 1 << 22;  // multiply-adds, some 30 microseconds

}  // namespace

const char* to_string(IntegerRoute route) {
  switch (route) {
    case IntegerRoute::kWide:
      return "wide";
    case IntegerRoute::kPairs:
      return "pairs";
    case IntegerRoute::kDot:
      return "dot";
    case IntegerRoute::kTiles:
      return "tiles";
    case IntegerRoute::kSaturating:
      return "saturating";
  }
  return "";
}

const char* integer_instruction_set() { return HWY_DYNAMIC_DISPATCH(name_of_target)(); }

std::vector<IntegerRoute> IntegerWeight::routes(const IntegerMatrix& matrix, int32_t most) {
  std::vector<IntegerRoute> routes = {IntegerRoute::kWide};
  if (HWY_DYNAMIC_DISPATCH(has_pairs)() && steps_in_16_bits(matrix, most) > 0) {
    routes.push_back(IntegerRoute::kPairs);
  }
  if (HWY_DYNAMIC_DISPATCH(has_dot)()) routes.push_back(IntegerRoute::kDot);
  if (HWY_DYNAMIC_DISPATCH(has_tiles)()) routes.push_back(IntegerRoute::kTiles);
  return routes;
}

// Looking for sums that overflow takes longer than packing: only where it decides.
IntegerWeight::IntegerWeight(const IntegerMatrix& matrix, int32_t most, CodeStorage storage)
    : IntegerWeight(matrix, most,
                    HWY_DYNAMIC_DISPATCH(has_tiles)() ? IntegerRoute::kTiles
                    : HWY_DYNAMIC_DISPATCH(has_dot)() ? IntegerRoute::kDot
                                                      : routes(matrix, most).back(),
                    storage) {}

void integer_product(const IntegerRows& x, const IntegerWeight& weight,
                     const IntegerEpilogue& epilogue, const IntegerOutput& output,
                     ParallelFor parallel_for) {
  if (x.rows == 0) return;
  const IntegerProduct of{x, weight, epilogue, output};
  const int64_t blocks = ceiling(x.rows, kIntegerRowsOfPart);
  const int64_t chunks = ceiling(weight.panels(), kPanelsOfPart);
  const int64_t rows = ceiling(x.rows, blocks);
  const int64_t work = rows * kPanelsOfPart * IntegerWeight::kPanel * weight.inputs();
  const bool narrow = weight.bits() < 8;
  parallel_for(0, blocks * chunks, ceiling(kWorthAThread, work), [&](int64_t begin, int64_t end) {
    const int64_t copied = reads_in_place(weight) ? 0 : rows;
    const std::unique_ptr<void, FreeBytes> scratch(
        aligned_bytes((copied + amx::kTileRows) * row_bytes(weight)));
    std::unique_ptr<void, FreeBytes> unpacked;
    if (narrow)
      unpacked.reset(aligned_bytes(kPanelsOfPart * weight.panel_bytes() + 2 * kNarrowBlock));
    auto* panels = static_cast<int8_t*>(unpacked.get());
    int64_t unpacked_panel = -1;
    for (int64_t i = begin; i < end; ++i) {
      // What was unpacked serves all rows, and what was not lies in the cache for all panels.
      const int64_t block = narrow ? i % blocks : i / chunks;
      const int64_t first = (narrow ? i / blocks : i % chunks) * kPanelsOfPart;
      const int64_t last = std::min(first + kPanelsOfPart, weight.panels());
      if (narrow && first != unpacked_panel) {
        HWY_DYNAMIC_DISPATCH(unpack_panels)(weight, first, last, panels);
        unpacked_panel = first;
      }
      HWY_DYNAMIC_DISPATCH(compute_integers)
      (of,
       {x.rows * block / blocks, x.rows * (block + 1) / blocks, first, last,
        narrow ? panels : weight.panel(first)},
       static_cast<uint8_t*>(scratch.get()));
    }
  });
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

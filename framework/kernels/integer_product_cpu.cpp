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

#include "framework/kernels/activation-inl.h"
#include "framework/kernels/fake_quantize-inl.h"
#include "framework/kernels/integer_tile-inl.h"
#include "framework/kernels/quotient-inl.h"

#ifndef QUELL_INTEGER_PRODUCT_PARTS
#define QUELL_INTEGER_PRODUCT_PARTS
namespace quell::kernels {

struct IntegerProduct {
  const IntegerRows& x;
  const IntegerWeight& weight;
  const IntegerEpilogue& epilogue;
  const IntegerOutput& output;
};

// Rows and panels of outputs that are computed by one call.
struct PartOfIntegers {
  int64_t first_row, last_row, first_panel, last_panel;
};

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

// One part of a product. `scratch` has row_bytes() for each of its rows, unless they are read in
// place.
class IntegerPart {
 public:
  IntegerPart(const IntegerProduct& of, const PartOfIntegers& part, uint8_t* scratch)
      : of_(of),
        part_(part),
        outputs_(of.weight.outputs()),
        inputs_(of.weight.inputs()),
        tiles_(*code_tiles(of.weight.route(), of.weight.steps_together())) {
    read_rows(scratch);
  }

  void compute() {
    const int64_t rows = part_.last_row - part_.first_row;
    const int64_t tiles = (rows + kMostRows - 1) / kMostRows;
    const int64_t wide = panels_of_tile((rows + tiles - 1) / tiles);
    for (int64_t p = part_.first_panel; p < part_.last_panel; p += wide) {
      const int64_t last = std::min(p + wide, part_.last_panel);
      for (int64_t t = 0; t < tiles; ++t) {
        compute_tile(part_.first_row + rows * t / tiles, part_.first_row + rows * (t + 1) / tiles,
                     p, last);
      }
    }
  }

 private:
  void read_rows(uint8_t* scratch) {
    const IntegerWeight& weight = of_.weight;
    const int64_t first = part_.first_row;
    const uint8_t* from = of_.x.codes + first * inputs_;
    for (int64_t r = 0; weight.has_zero_points() && r < part_.last_row - first; ++r) {
      int32_t sum = 0;
      for (int64_t k = 0; k < inputs_; ++k) sum += from[r * inputs_ + k];
      row_sums_[r] = sum;
    }
    if (reads_in_place(weight)) {
      x_ = from;
      x_stride_ = inputs_;
      return;
    }
    x_ = scratch;
    x_stride_ = row_bytes(weight);
    for (int64_t r = 0; r < part_.last_row - first; ++r, from += inputs_, scratch += x_stride_) {
      std::memset(scratch + x_stride_ - weight.steps_together() * kStepBytes, 0,
                  static_cast<size_t>(weight.steps_together() * kStepBytes));
      if (weight.route() == IntegerRoute::kWide) {
        widen(from, scratch);
      } else {
        std::copy(from, from + inputs_, scratch);
      }
    }
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

  void compute_tile(int64_t first_row, int64_t last_row, int64_t panel, int64_t last_panel) {
    const int64_t rows = last_row - first_row, wide = panels_of_tile(rows);
    const int64_t panel_bytes = of_.weight.steps() * kPanelStep;
    while (panel < last_panel) {
      const bool one = panel + wide > last_panel;
      const int64_t panels = one ? 1 : wide;
      const int64_t stride = panels * kPanel;
      (one ? tiles_.single : tiles_.wide)[static_cast<size_t>(rows)](
          {x_ + (first_row - part_.first_row) * x_stride_, x_stride_, of_.weight.panel(panel),
           panel_bytes, of_.weight.steps(), sums_, stride});
      for (int64_t r = 0; r < rows; ++r) {
        finish(first_row + r, panel * kPanel, std::min(stride, outputs_ - panel * kPanel),
               sums_ + r * stride);
      }
      panel += panels;
    }
  }

  // Outputs first..first + count of a row, from sums of products of codes.
  void finish(int64_t row, int64_t first, int64_t count, int32_t* sums) const {
    const IntTag tag;
    const int64_t at = of_.x.per_row ? row : 0;
    const auto zero = static_cast<int32_t>(of_.x.zero_point[at]);
    const Sums zeros = hn::Set(tag, zero);
    for (int64_t c = 0; c < count; c += kLanes) {
      const Sums all = hn::LoadU(tag, of_.weight.sums() + first + c);
      hn::Store(hn::Sub(hn::Load(tag, sums + c), hn::Mul(zeros, all)), tag, sums + c);
    }
    if (of_.weight.has_zero_points()) {
      const auto less = static_cast<int32_t>(row_sums_[row - part_.first_row] - inputs_ * zero);
      for (int64_t c = 0; c < count; c += kLanes) {
        const Sums of_weight = hn::LoadU(tag, of_.weight.zero_point() + first + c);
        const Sums term = hn::Mul(hn::Set(tag, less), of_weight);
        hn::Store(hn::Sub(hn::Load(tag, sums + c), term), tag, sums + c);
      }
    }
    const int64_t place = row * outputs_ + first;
    if (of_.output.sums != nullptr) std::copy(sums, sums + count, of_.output.sums + place);
    if (of_.output.y == nullptr) return;
    switch (of_.epilogue.activation) {
      case Activation::kNone:
        return write(Identity(), row, first, count, sums);
      case Activation::kRelu:
        return write(Relu(), row, first, count, sums);
      case Activation::kGelu:
        return write(Gelu(), row, first, count, sums);
      case Activation::kGeluTanh:
        return write(GeluTanh(), row, first, count, sums);
    }
  }

  template <class Activate>
  HWY_INLINE void write(const Activate& activate, int64_t row, int64_t first, int64_t count,
                        const int32_t* sums) const {
    const FloatTag tag;
    const IntegerOutput& output = of_.output;
    const Vector row_scale = hn::Set(tag, of_.x.scale[of_.x.per_row ? row : 0]);
    const float* bias = of_.epilogue.bias == nullptr ? nullptr : of_.epilogue.bias + first;
    const auto value = [&](int64_t c, int64_t lanes) HWY_ATTR {
      const Vector scale = hn::Mul(row_scale, hn::LoadU(tag, of_.weight.scale() + first + c));
      Vector y = hn::Mul(hn::ConvertTo(tag, hn::Load(IntTag(), sums + c)), scale);
      if (bias != nullptr) y = hn::Add(y, load(bias + c, lanes));
      return activate(tag, y);
    };
    const int64_t place = row * outputs_ + first;
    float* y = output.y + place;
    if (output.codes == nullptr) {
      for (int64_t c = 0; c < count; c += kLanes) {
        const int64_t lanes = std::min(kLanes, count - c);
        store(value(c, lanes), tag, y + c, lanes);
      }
      return;
    }
    const hn::Rebind<uint8_t, FloatTag> narrow;
    const Vector scale = hn::Set(tag, output.grid.scale), low = hn::Zero(tag);
    const Vector zero = hn::Set(tag, output.grid.zero_point);
    const Vector high = hn::Set(tag, output.grid.most);
    with_quotient<Vector>(output.grid.scale, 1 << 20, [&](const auto& quotient) HWY_ATTR {
      for (int64_t c = 0; c < count; c += kLanes) {
        const int64_t lanes = std::min(kLanes, count - c);
        const Vector code = code_of(quotient(value(c, lanes)), zero, low, high);
        store(value_of(code, scale, zero), tag, y + c, lanes);
        store(hn::DemoteTo(narrow, hn::ConvertTo(IntTag(), code)), narrow, output.codes + place + c,
              lanes);
      }
    });
  }

  // Less than a vector goes through a buffer.
  static HWY_INLINE Vector load(const float* from, int64_t lanes) {
    if (lanes == kLanes) return hn::LoadU(FloatTag(), from);
    HWY_ALIGN float few[kLanes] = {};
    std::copy(from, from + lanes, few);
    return hn::Load(FloatTag(), few);
  }
  template <class V, class D, class T>
  static HWY_INLINE void store(V value, D tag, T* to, int64_t lanes) {
    if (lanes == kLanes) return hn::StoreU(value, tag, to);
    HWY_ALIGN T few[kLanes];
    hn::Store(value, tag, few);
    std::copy_n(few, std::min<int64_t>(lanes, kLanes), to);  // the bound is for GCC
  }

  const IntegerProduct& of_;
  const PartOfIntegers& part_;
  const int64_t outputs_, inputs_;
  const CodeTileFunctions& tiles_;
  const uint8_t* x_;
  int64_t x_stride_;
  int32_t row_sums_[kIntegerRowsOfPart];
  HWY_ALIGN int32_t sums_[kMostRows * kMostColumns];
};

void compute_integers(const IntegerProduct& of, const PartOfIntegers& part, uint8_t* scratch) {
  IntegerPart(of, part, scratch).compute();
}

// What this instruction set has, and the processor beside it.
bool has_pairs() { return HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3; }

bool has_dot() {
#if HWY_TARGET == HWY_AVX3
  return __builtin_cpu_supports("avx512vnni") != 0;
#elif HWY_TARGET == HWY_AVX2
  return __builtin_cpu_supports("avxvnni") != 0;
#else
  return false;
#endif
}

const char* name_of_target() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(compute_integers);
HWY_EXPORT(has_pairs);
HWY_EXPORT(has_dot);
HWY_EXPORT(name_of_target);

constexpr size_t kAlignment = 64;           // a cache line, and the widest vector
constexpr int64_t kPanelsOfPart = 8;        // whose weights fit into the second-level cache
constexpr int64_t kWorthAThread = 1 << 22;  // multiply-adds, some 30 microseconds
constexpr int64_t kMostTogether = 8;        // steps that are summed up in 16 bits
constexpr int64_t kInputsOfStep = 4;

int64_t ceiling(int64_t count, int64_t per) { return (count + per - 1) / per; }

struct FreeBytes {
  void operator()(void* data) const { std::free(data); }
};

void* aligned(int64_t bytes) {
  const auto lines = static_cast<size_t>(ceiling(std::max<int64_t>(bytes, 1), kAlignment));
  void* data = std::aligned_alloc(kAlignment, lines * kAlignment);
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

// The largest sum, without its sign, that 16 bits must hold where `together` steps of pairs are
// added: as large as all positive or all negative codes make it.
int64_t largest_sum(const IntegerMatrix& of, int32_t most, int64_t together) {
  const int64_t block = together * kInputsOfStep;
  int64_t largest = 0;
  for (int64_t o = 0; o < of.outputs; ++o) {
    const int8_t* row = of.codes + o * of.inputs;
    for (int64_t first = 0; first < of.inputs; first += block) {
      int64_t up[2] = {}, down[2] = {};  // by the pair of a step
      for (int64_t k = first; k < std::min(of.inputs, first + block); ++k) {
        const int64_t pair = k % kInputsOfStep / 2;
        (row[k] > 0 ? up : down)[pair] += std::abs(static_cast<int64_t>(row[k]));
      }
      for (const int64_t pair : {0, 1}) {
        // The negative end of 16 bits is one further from zero, which is left unused.
        largest = std::max({largest, up[pair] * most, down[pair] * most});
      }
    }
  }
  return largest;
}

// How many steps may be added in 16 bits; 0: none.
int64_t steps_in_16_bits(const IntegerMatrix& of, int32_t most) {
  constexpr int64_t kLargest = 32767;
  for (int64_t together = kMostTogether; together > 0; together /= 2) {
    if (largest_sum(of, most, together) <= kLargest) return together;
  }
  return 0;
}

}  // namespace

const char* to_string(IntegerRoute route) {
  switch (route) {
    case IntegerRoute::kWide:
      return "wide";
    case IntegerRoute::kPairs:
      return "pairs";
    case IntegerRoute::kDot:
      return "dot";
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
  return routes;
}

// Looking for sums that overflow takes longer than packing: only where it decides.
IntegerWeight::IntegerWeight(const IntegerMatrix& matrix, int32_t most)
    : IntegerWeight(
          matrix, most,
          HWY_DYNAMIC_DISPATCH(has_dot)() ? IntegerRoute::kDot : routes(matrix, most).back()) {}

IntegerWeight::IntegerWeight(const IntegerMatrix& matrix, int32_t most, IntegerRoute route)
    : outputs_(matrix.outputs), inputs_(matrix.inputs), route_(route) {
  if (route == IntegerRoute::kPairs) together_ = steps_in_16_bits(matrix, most);
  const int64_t of_step = route == IntegerRoute::kWide ? 2 : kInputsOfStep;
  steps_ = ceiling(inputs_, of_step * together_) * together_;
  const auto padded = static_cast<size_t>(panels() * kPanel);
  scale_.resize(padded);
  zero_point_.resize(padded);
  sums_.resize(padded);
  std::copy(matrix.scale, matrix.scale + outputs_, scale_.begin());
  std::copy(matrix.zero_point, matrix.zero_point + outputs_, zero_point_.begin());
  has_zero_points_ = std::any_of(zero_point_.begin(), zero_point_.end(),
                                 [](int32_t zero_point) { return zero_point != 0; });
  data_.reset(static_cast<int8_t*>(aligned(panels() * steps_ * 4 * kPanel)));
  pack(matrix);
}

// Of each panel step by step, and of each step the inputs of one output after another, four bytes.
// Rows are read by cache lines.
void IntegerWeight::pack(const IntegerMatrix& matrix) {
  constexpr int64_t kBytes = 4, kStepsOfLine = 16;
  const bool widens = route_ == IntegerRoute::kWide;
  const int64_t of_step = widens ? 2 : kInputsOfStep;
  std::memset(data_.get(), 0, static_cast<size_t>(panels() * steps_ * kBytes * kPanel));
  for (int64_t o = 0; o < outputs_; ++o) {
    const int8_t* row = matrix.codes + o * inputs_;
    sums_[static_cast<size_t>(o)] = std::accumulate(row, row + inputs_, int32_t{0});
  }
  const auto put = [&](int64_t o, int64_t step) {
    int8_t* to = data_.get() + ((o / kPanel * steps_ + step) * kPanel + o % kPanel) * kBytes;
    const int64_t first = step * of_step, count = std::min(of_step, inputs_ - first);
    const int8_t* codes = matrix.codes + o * inputs_ + first;
    if (!widens && count == kBytes) {
      std::memcpy(to, codes, kBytes);
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      const int16_t wide_code = codes[i];  // the low byte comes first
      std::memcpy(to + (widens ? 2 * i : i), &wide_code, widens ? 2 : 1);
    }
  };
  for (int64_t first = 0; first < outputs_; first += kPanel) {
    const int64_t end = std::min(first + kPanel, outputs_);
    for (int64_t line = 0; line < steps_; line += kStepsOfLine) {
      for (int64_t o = first; o < end; ++o) {
        for (int64_t step = line; step < std::min(line + kStepsOfLine, steps_); ++step) {
          put(o, step);
        }
      }
    }
  }
}

void IntegerWeight::Free::operator()(int8_t* data) const { std::free(data); }

int64_t IntegerWeight::bytes() const { return panels() * kPanel * (steps_ * 4 + 12); }

const int8_t* IntegerWeight::panel(int64_t panel) const {
  return data_.get() + panel * steps_ * 4 * kPanel;
}

void integer_product(const IntegerRows& x, const IntegerWeight& weight,
                     const IntegerEpilogue& epilogue, const IntegerOutput& output,
                     ParallelFor parallel_for) {
  if (x.rows == 0) return;
  const IntegerProduct of{x, weight, epilogue, output};
  const int64_t blocks = ceiling(x.rows, kIntegerRowsOfPart);
  const int64_t chunks = ceiling(weight.panels(), kPanelsOfPart);
  const int64_t rows = ceiling(x.rows, blocks);
  const int64_t work = rows * kPanelsOfPart * IntegerWeight::kPanel * weight.inputs();
  parallel_for(0, blocks * chunks, ceiling(kWorthAThread, work), [&](int64_t begin, int64_t end) {
    const std::unique_ptr<void, FreeBytes> scratch(
        aligned(reads_in_place(weight) ? 0 : rows * row_bytes(weight)));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i / chunks, panel = i % chunks * kPanelsOfPart;
      HWY_DYNAMIC_DISPATCH(compute_integers)
      (of,
       {x.rows * block / blocks, x.rows * (block + 1) / blocks, panel,
        std::min(panel + kPanelsOfPart, weight.panels())},
       static_cast<uint8_t*>(scratch.get()));
    }
  });
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

#include "framework/kernels/integer_attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/integer_attention_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/attention_heads.h"
#include "framework/kernels/fake_quantize-inl.h"
#include "framework/kernels/integer_panels-inl.h"
#include "framework/kernels/integer_tile-inl.h"
#include "framework/kernels/quotient-inl.h"
#include "framework/kernels/softmax-inl.h"

#ifndef QUELL_INTEGER_ATTENTION_HEAD
#define QUELL_INTEGER_ATTENTION_HEAD
namespace quell::kernels {

// One head of the keys of one sequence, and all heads of queries that read it.
struct IntegerHead {
  const IntegerAttentionOperands& of;
  const AttentionSequence& sequence;
  int64_t key_head;
  const IntegerOutput& output;
};

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Where what one head needs lies in its scratch, each part aligned as panels are.
template <class Layout>
struct HeadScratch {
  int64_t key_columns, value_columns, key_steps, value_steps;
  int8_t *keys, *values;           // panels
  int32_t *key_sums, *value_sums;  // of the codes of each column, times the zero point of rows
  uint8_t *queries, *probs;        // rows of a tile as they are multiplied
  uint8_t* codes;                  // of a row of probabilities
  int32_t* sums;                   // of a tile
  float* scores;                   // of a tile
  int64_t bytes;

  HeadScratch(int64_t key_count, int64_t head_size, uint8_t* data)
      : key_columns(padded(key_count)),
        value_columns(padded(head_size)),
        key_steps(steps_of<Layout>(head_size)),
        value_steps(steps_of<Layout>(key_columns)) {
    int64_t used = 0;
    const auto take = [&](auto*& to, int64_t count) {
      to = data == nullptr ? nullptr : reinterpret_cast<std::decay_t<decltype(to)>>(data + used);
      constexpr int64_t kAlignment = 64;
      used +=
          (count * static_cast<int64_t>(sizeof(*to)) + kAlignment - 1) / kAlignment * kAlignment;
    };
    const int64_t widest = std::max(key_columns, value_columns);
    take(keys, key_columns * key_steps * kStepBytes);
    take(values, value_columns * value_steps * kStepBytes);
    take(key_sums, key_columns);
    take(value_sums, value_columns);
    take(queries, kMostRows * key_steps * kStepBytes);
    take(probs, kMostRows * value_steps * kStepBytes);
    take(codes, key_columns);
    take(sums, kMostRows * widest);
    take(scores, kMostRows * key_columns);
    bytes = used;
  }
};

// sums [rows, columns] of products of rows and panels of `steps`, at most kMostRows.
template <class Route>
void multiply_codes(const uint8_t* rows, int64_t count, const int8_t* panels, int64_t columns,
                    int64_t steps, int32_t* sums) {
  const int64_t wide = panels_of_tile(count), panel_bytes = steps * kPanelStep;
  for (int64_t left = columns / kPanel; left > 0;) {
    const int64_t taken = left < wide ? 1 : wide;
    const auto& functions = kCodeTiles<Route>;
    (taken == 1 ? functions.single : functions.wide)[static_cast<size_t>(count)](
        {rows, steps * kStepBytes, panels, panel_bytes, steps, sums, columns});
    panels += taken * panel_bytes;
    sums += taken * kPanel;
    left -= taken;
  }
}

// sums = the zero point of rows times the sum of the codes of each column.
template <class Route, class Layout>
void sum_columns(const int8_t* panels, int64_t columns, int64_t steps, float zero_point,
                 int32_t* sums) {
  const auto zero = hn::Set(IntTag(), static_cast<int32_t>(zero_point));
  for (int64_t c = 0; c < columns; c += kPanel, panels += steps * kPanelStep) {
    for (int64_t v = 0; v < kPanel; v += kLanes) {
      Sums sum = hn::Zero(IntTag());
      const int16_t one = Layout::kBytes == 1 ? 0x0101 : 1;
      uint8_t ones[kStepBytes];
      std::memcpy(ones, &one, 2);
      std::memcpy(ones + 2, &one, 2);
      for (int64_t step = 0; step < steps; ++step) {
        sum = Route::add(sum, ones, panels + step * kPanelStep + v * kStepBytes);
      }
      hn::Store(hn::Mul(sum, zero), IntTag(), sums + c + v);
    }
  }
}

// From sums of a row to values: sum of (x - x_zero) * (w - w_zero), times the scales.
HWY_INLINE Vector value_of_sums(const int32_t* sums, const int32_t* column_terms, Sums row_term,
                                Vector scale) {
  const IntTag tag;
  const Sums sum = hn::Sub(hn::Sub(hn::Load(tag, sums), hn::Load(tag, column_terms)), row_term);
  return hn::Mul(hn::ConvertTo(FloatTag(), sum), scale);
}

// What the zero point of columns makes of a row whose codes have this sum.
HWY_INLINE int32_t term_of_row(int32_t sum_of_codes, int64_t count, float row_zero,
                               float column_zero) {
  const auto zero = static_cast<int32_t>(row_zero), other = static_cast<int32_t>(column_zero);
  return (sum_of_codes - static_cast<int32_t>(count) * zero) * (other - kCentre);
}

void round_scores(float* scores, int64_t columns, const MatrixGrid& grid) {
  const FloatTag tag;
  const Vector scale = hn::Set(tag, grid.scale), zero = hn::Set(tag, grid.zero_point);
  const Vector low = hn::Set(tag, grid.levels.low), high = hn::Set(tag, grid.levels.high);
  with_quotient<Vector>(grid.scale, 1 << 20, [&](const auto& quotient) HWY_ATTR {
    for (int64_t c = 0; c < columns; c += kLanes) {
      const Vector code = code_of(quotient(hn::Load(tag, scores + c)), zero, low, high);
      hn::Store(value_of(code, scale, zero), tag, scores + c);
    }
  });
}

// Codes of values / divisor on a grid. Returns their sum.
int32_t quotient_codes(const float* values, int64_t columns, float divisor, const OutputGrid& grid,
                       uint8_t* codes) {
  const FloatTag tag;
  const hn::Rebind<uint8_t, FloatTag> narrow;
  const Vector zero = hn::Set(tag, grid.zero_point), high = hn::Set(tag, grid.most);
  const Vector low = hn::Zero(tag);
  // Both divisions by one factor are off by less than three roundings: where the code does not
  // depend on those, it is known. Beyond kFar codes are clamped.
  constexpr float kFar = 1024;
  const Vector all = hn::Set(tag, divisor), scale = hn::Set(tag, grid.scale);
  const Vector inverse = hn::Set(tag, 1 / divisor * (1 / grid.scale));
  const bool has_inverse = has_reciprocal(divisor) && has_reciprocal(grid.scale);
  const Vector sure = hn::Set(tag, has_inverse ? 0.5f - kFar * 0x1p-21f : -1);
  Sums sums = hn::Zero(IntTag());
  for (int64_t c = 0; c < columns; c += kLanes) {
    const Vector value = hn::Load(tag, values + c);
    Vector quotient = hn::Mul(value, inverse);
    const auto known = hn::Lt(hn::Abs(hn::Sub(quotient, hn::Round(quotient))), sure);
    if (HWY_UNLIKELY(!hn::AllTrue(tag, known))) {
      quotient = hn::Div(hn::Div(value, all), scale);
    }
    const Sums code = hn::ConvertTo(IntTag(), code_of(quotient, zero, low, high));
    sums = hn::Add(sums, code);
    hn::StoreU(hn::DemoteTo(narrow, code), narrow, codes + c);
  }
  return hn::GetLane(hn::SumOfLanes(IntTag(), sums));
}

template <class Route, class Layout>
class HeadOfCodes {
 public:
  HeadOfCodes(const IntegerHead& head, uint8_t* data)
      : of_(head.of),
        sequence_(head.sequence),
        output_(head.output),
        keys_(head.sequence.valid_keys),
        scratch_(keys_, of_.head_size, data) {
    const int64_t at = head.key_head * of_.head_size, first = sequence_.first_key;
    pack_rows<Layout>(of_.key.codes + first * of_.key.stride + at, of_.key.stride, keys_,
                      of_.head_size, scratch_.keys);
    pack_columns_of<Layout>(of_.value.codes + first * of_.value.stride + at, of_.value.stride,
                            keys_, of_.head_size, scratch_.value_steps, scratch_.values);
    sum_columns<Route, Layout>(scratch_.keys, scratch_.key_columns, scratch_.key_steps,
                               of_.query.zero_point, scratch_.key_sums);
    sum_columns<Route, Layout>(scratch_.values, scratch_.value_columns, scratch_.value_steps,
                               of_.probs.zero_point, scratch_.value_sums);
  }

  // Of one head of queries. False where a probability has no code.
  bool attend(int64_t head) const {
    const int64_t tiles = (sequence_.queries + kMostRows - 1) / kMostRows;
    bool complete = true;
    for (int64_t t = 0; t < tiles && complete; ++t) {
      const int64_t first = sequence_.queries * t / tiles;
      complete = attend(head, first, sequence_.queries * (t + 1) / tiles - first);
    }
    return complete;
  }

 private:
  bool attend(int64_t head, int64_t first, int64_t rows) const {
    int32_t terms[kMostRows];
    multiply_queries(head, first, rows, terms);
    bool complete = true;
    for (int64_t r = 0; r < rows; ++r) {
      complete = complete && soften(head, first + r, r, terms[r]);
    }
    if (!complete) return false;
    multiply_codes<Route>(scratch_.probs, rows, scratch_.values, scratch_.value_columns,
                          scratch_.value_steps, scratch_.sums);
    for (int64_t r = 0; r < rows; ++r) write(head, sequence_.first_query + first + r, r, terms[r]);
    return true;
  }

  void multiply_queries(int64_t head, int64_t first, int64_t rows, int32_t* terms) const {
    const HeadCodes& query = of_.query;
    const int64_t size = of_.head_size;
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* codes =
          query.codes + (sequence_.first_query + first + r) * query.stride + head * size;
      put_row<Layout>(codes, size, scratch_.key_steps,
                      scratch_.queries + r * scratch_.key_steps * kStepBytes);
      int32_t sum = 0;
      for (int64_t k = 0; k < size; ++k) sum += codes[k];
      terms[r] = term_of_row(sum, size, query.zero_point, of_.key.zero_point);
    }
    multiply_codes<Route>(scratch_.queries, rows, scratch_.keys, scratch_.key_columns,
                          scratch_.key_steps, scratch_.sums);
  }

  // From the sums of row `r` of a tile to codes of probabilities, and their term for the context.
  bool soften(int64_t head, int64_t query, int64_t r, int32_t& term) const {
    const FloatTag tag;
    const int64_t columns = scratch_.key_columns;
    float* scores = scratch_.scores + r * columns;
    const Sums row_term = hn::Set(IntTag(), term);
    const Vector scale = hn::Set(tag, of_.query.scale * of_.key.scale);
    for (int64_t c = 0; c < columns; c += kLanes) {
      const int32_t* sums = scratch_.sums + r * columns + c;
      hn::Store(value_of_sums(sums, scratch_.key_sums + c, row_term, scale), tag, scores + c);
    }
    if (of_.scores) round_scores(scores, columns, *of_.scores);
    const int64_t later = of_.causal ? sequence_.queries - 1 - query : 0;
    const int64_t seen = std::clamp<int64_t>(sequence_.keys - later, 0, keys_);
    const float slope = of_.slopes == nullptr ? 0 : of_.slopes[head];
    const float sum = exponentials(scores, seen, columns, of_.factor, slope);
    if (!std::isfinite(sum) || sum == 0) return false;
    int32_t all = quotient_codes(scores, columns, sum, of_.probs, scratch_.codes);
    for (int64_t c = keys_; c < columns; ++c) all -= scratch_.codes[c];
    put_row<Layout>(scratch_.codes, columns, scratch_.value_steps,
                    scratch_.probs + r * scratch_.value_steps * kStepBytes);
    term = term_of_row(all, keys_, of_.probs.zero_point, of_.value.zero_point);
    return true;
  }

  // The context of row `r` of a tile.
  void write(int64_t head, int64_t row, int64_t r, int32_t term) const {
    const FloatTag tag;
    const hn::Rebind<uint8_t, FloatTag> narrow;
    const int64_t size = of_.head_size, place = row * of_.heads * size + head * size;
    const Sums row_term = hn::Set(IntTag(), term);
    const Vector scale = hn::Set(tag, of_.probs.scale * of_.value.scale);
    const OutputGrid& grid = output_.grid;
    const Vector step = hn::Set(tag, grid.scale), zero = hn::Set(tag, grid.zero_point);
    const Vector low = hn::Zero(tag), high = hn::Set(tag, grid.most);
    const int32_t* sums = scratch_.sums + r * scratch_.value_columns;
    HWY_ALIGN float few[kLanes];
    HWY_ALIGN uint8_t few_codes[kLanes];
    with_quotient<Vector>(grid.scale, 1 << 20, [&](const auto& quotient) HWY_ATTR {
      for (int64_t c = 0; c < size; c += kLanes) {
        const auto lanes = static_cast<size_t>(std::min(kLanes, size - c));
        Vector value = value_of_sums(sums + c, scratch_.value_sums + c, row_term, scale);
        if (output_.codes != nullptr) {
          const Vector code = code_of(quotient(value), zero, low, high);
          hn::Store(hn::DemoteTo(narrow, hn::ConvertTo(IntTag(), code)), narrow, few_codes);
          std::copy_n(few_codes, lanes, output_.codes + place + c);
          value = value_of(code, step, zero);
        }
        if (output_.y == nullptr) continue;
        hn::Store(value, tag, few);
        std::copy_n(few, lanes, output_.y + place + c);
      }
    });
  }

  const IntegerAttentionOperands& of_;
  const AttentionSequence& sequence_;
  const IntegerOutput& output_;
  const int64_t keys_;
  const HeadScratch<Layout> scratch_;
};

template <class Route, class Layout>
bool attend_head(const IntegerHead& head, uint8_t* scratch) {
  const HeadOfCodes<Route, Layout> codes(head, scratch);
  const int64_t group = head.of.heads / head.of.key_heads;
  bool complete = true;
  for (int64_t h = head.key_head * group; h < (head.key_head + 1) * group && complete; ++h) {
    complete = codes.attend(h);
  }
  return complete;
}

bool attend_codes(const IntegerHead& head, uint8_t* scratch) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  if (multiplies_fours()) return attend_head<Dot, InFours>(head, scratch);
#endif
  return attend_head<Wide, InPairs>(head, scratch);
}

int64_t integer_head_scratch(int64_t keys, int64_t head_size) {
  return std::max(HeadScratch<InFours>(keys, head_size, nullptr).bytes,
                  HeadScratch<InPairs>(keys, head_size, nullptr).bytes);
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(integer_head_scratch);
HWY_EXPORT(attend_codes);

constexpr int64_t kWorthAThread = 1 << 19;  // multiply-adds, some 30 microseconds

}  // namespace

bool integer_attention(const IntegerAttentionOperands& of,
                       std::span<const AttentionSequence> sequences, const IntegerOutput& output,
                       ParallelFor parallel_for) {
  const HeadsOfSequences all{sequences, of.heads, of.key_heads, of.head_size, kWorthAThread};
  const int64_t bytes = HWY_DYNAMIC_DISPATCH(integer_head_scratch)(all.most_keys(), of.head_size);
  std::atomic<bool> complete = true;
  all.for_each(
      bytes, parallel_for, [&](const AttentionSequence& sequence, int64_t key_head, void* scratch) {
        if (complete && !HWY_DYNAMIC_DISPATCH(attend_codes)({of, sequence, key_head, output},
                                                            static_cast<uint8_t*>(scratch))) {
          complete = false;
        }
      });
  return complete;
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

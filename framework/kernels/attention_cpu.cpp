#include "framework/kernels/attention.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/attention_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/attention_heads.h"
#include "framework/kernels/fake_quantize-inl.h"
#include "framework/kernels/product_tile-inl.h"
#include "framework/kernels/softmax-inl.h"

#ifndef QUELL_ATTENTION_HEAD
#define QUELL_ATTENTION_HEAD
namespace quell::kernels {

// One head of the keys of one sequence, and all heads of queries that read it.
struct AttentionHead {
  const AttentionOperands& of;
  const AttentionSequence& sequence;
  int64_t key_head;
  float* context;
};

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

int64_t panels_of(int64_t columns) { return (columns + kPanel - 1) / kPanel; }

int64_t head_scratch(int64_t keys, int64_t head_size) {
  const int64_t key_columns = panels_of(keys) * kPanel, columns = panels_of(head_size) * kPanel;
  return key_columns * head_size + columns * keys + kMostRows * (key_columns + columns);
}

// rows [count, size] to panels of 16 rows, [size, kPanel] each; the last is filled up with
// anything.
void pack_transposed(const float* rows, int64_t stride, int64_t count, int64_t size,
                     float* panels) {
  constexpr int64_t kSquare = 4;
  std::fill_n(panels + count / kPanel * size * kPanel, count % kPanel > 0 ? size * kPanel : 0,
              0.0f);
  for (int64_t row = 0; row < count; row += kSquare) {
    float* to = panels + row / kPanel * size * kPanel + row % kPanel;
    const int64_t present = std::min(kSquare, count - row);
    const auto at = [&](int64_t r)
                        HWY_ATTR { return rows + (row + std::min(r, present - 1)) * stride; };
    int64_t k = 0;
#if HWY_TARGET != HWY_SCALAR
    const hn::FixedTag<float, kSquare> tag;
    for (; k + kSquare <= size; k += kSquare, to += kSquare * kPanel) {
      const auto a = hn::LoadU(tag, at(0) + k), b = hn::LoadU(tag, at(1) + k);
      const auto c = hn::LoadU(tag, at(2) + k), d = hn::LoadU(tag, at(3) + k);
      const auto low_ac = hn::InterleaveLower(tag, a, c), low_bd = hn::InterleaveLower(tag, b, d);
      const auto high_ac = hn::InterleaveUpper(tag, a, c), high_bd = hn::InterleaveUpper(tag, b, d);
      hn::StoreU(hn::InterleaveLower(tag, low_ac, low_bd), tag, to);
      hn::StoreU(hn::InterleaveUpper(tag, low_ac, low_bd), tag, to + kPanel);
      hn::StoreU(hn::InterleaveLower(tag, high_ac, high_bd), tag, to + 2 * kPanel);
      hn::StoreU(hn::InterleaveUpper(tag, high_ac, high_bd), tag, to + 3 * kPanel);
    }
#endif
    for (; k < size; ++k, to += kPanel) {
      for (int64_t r = 0; r < kSquare; ++r) to[r] = at(r)[k];
    }
  }
}

// rows [count, size] to panels of 16 columns, [count, kPanel] each; what is missing is 0.
void pack_columns(const float* rows, int64_t stride, int64_t count, int64_t size, float* panels) {
  for (int64_t column = 0; column < size; column += kPanel) {
    const int64_t present = std::min(kPanel, size - column);
    for (int64_t row = 0; row < count; ++row, panels += kPanel) {
      const float* from = rows + row * stride + column;
      std::fill(std::copy(from, from + present, panels), panels + kPanel, 0.0f);
    }
  }
}

// values[0..columns) = each of them divided by `divisor`, on the grid; `columns`: a multiple of
// kPanel.
void round_quotients(float* values, int64_t columns, float divisor, const MatrixGrid& grid) {
  const FloatTag tag;
  const Vector all = hn::Set(tag, divisor);
  const Vector scale = hn::Set(tag, grid.scale), zero = hn::Set(tag, grid.zero_point);
  const Vector low = hn::Set(tag, grid.levels.low), high = hn::Set(tag, grid.levels.high);
  for (int64_t c = 0; c < columns; c += kLanes) {
    const Vector value = hn::Div(hn::Load(tag, values + c), all);
    const Vector code = code_of(hn::Div(value, scale), zero, low, high);
    hn::Store(value_of(code, scale, zero), tag, values + c);
  }
}

// Whether the probability 0 is on the grid.
bool holds_zero(const MatrixGrid& grid) {
  return std::clamp(grid.zero_point, grid.levels.low, grid.levels.high) == grid.zero_point;
}

// y [rows, panels * kPanel] = x [rows, depth] times panels of which each is `panel_depth` times
// kPanel values, at most kMostRows.
void multiply(const float* x, int64_t x_stride, int64_t rows, const float* panel,
              int64_t panel_depth, int64_t panels, int64_t depth, float* y) {
  const int64_t wide = panels_of_tile(rows), stride = panels * kPanel;
  while (panels > 0) {
    const int64_t taken = panels < wide ? 1 : wide;
    (taken == 1 ? kTiles.single : kTiles.wide)[static_cast<size_t>(rows)](
        {x, x_stride, panel, panel_depth * kPanel, depth, /*first=*/true, y, stride});
    panel += taken * panel_depth * kPanel;
    y += taken * kPanel;
    panels -= taken;
  }
}

void attend(const AttentionHead& head, float* scratch) {
  const AttentionOperands& of = head.of;
  const AttentionSequence& sequence = head.sequence;
  const FloatTag tag;
  const int64_t keys = sequence.valid_keys, size = of.head_size, group = of.heads / of.key_heads;
  const int64_t most_columns = panels_of(keys) * kPanel, panels = panels_of(size);
  const int64_t columns = panels * kPanel;
  float* packed_keys = scratch;
  float* packed_values = packed_keys + most_columns * size;
  float* scores = packed_values + columns * keys;
  float* sums = scores + kMostRows * most_columns;
  pack_transposed(of.key.values + sequence.first_key * of.key.stride + head.key_head * size,
                  of.key.stride, keys, size, packed_keys);
  pack_columns(of.value.values + sequence.first_key * of.value.stride + head.key_head * size,
               of.value.stride, keys, size, packed_values);
  const int64_t tiles = (sequence.queries + kMostRows - 1) / kMostRows;
  // Keys behind those that a query sees have the probability 0, which adds nothing.
  const bool ends_early = of.causal && (!of.probs || holds_zero(*of.probs));
  const auto seen_by = [&](int64_t query) HWY_ATTR {
    const int64_t later = of.causal ? sequence.queries - 1 - query : 0;
    return std::clamp<int64_t>(sequence.keys - later, 0, keys);
  };
  for (int64_t h = head.key_head * group; h < (head.key_head + 1) * group; ++h) {
    const float slope = of.slopes == nullptr ? 0 : of.slopes[h];
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t first = sequence.queries * t / tiles;
      const int64_t rows = sequence.queries * (t + 1) / tiles - first;
      const int64_t row = sequence.first_query + first;
      const int64_t used = ends_early ? std::clamp<int64_t>(seen_by(first + rows - 1),
                                                            std::min<int64_t>(1, keys), keys)
                                      : keys;
      const int64_t key_panels = panels_of(used), key_columns = key_panels * kPanel;
      multiply(of.query.values + row * of.query.stride + h * size, of.query.stride, rows,
               packed_keys, size, key_panels, size, scores);
      HWY_ALIGN float factors[kMostRows];
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t seen = seen_by(first + r);
        float* values = scores + r * key_columns;
        if (of.scores) round_quotients(values, key_columns, 1, *of.scores);
        const float sum = exponentials(values, seen, key_columns, of.factor, slope);
        factors[r] = of.probs ? 1 : 1 / sum;
        if (of.probs) round_quotients(values, key_columns, sum, *of.probs);
      }
      multiply(scores, key_columns, rows, packed_values, keys, panels, used, sums);
      for (int64_t r = 0; r < rows; ++r) {
        float* from = sums + r * columns;
        for (int64_t c = 0; c < columns; c += kLanes) {
          hn::Store(hn::Mul(hn::Load(tag, from + c), hn::Set(tag, factors[r])), tag, from + c);
        }
        std::copy_n(from, size, head.context + (row + r) * of.heads * size + h * size);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(head_scratch);
HWY_EXPORT(attend);

constexpr int64_t kWorthAThread = 1 << 18;  // multiply-adds, some 30 microseconds

}  // namespace

void attention(const AttentionOperands& of, std::span<const AttentionSequence> sequences,
               float* context, ParallelFor parallel_for) {
  const HeadsOfSequences all{sequences, of.heads, of.key_heads, of.head_size, kWorthAThread};
  const int64_t floats = HWY_DYNAMIC_DISPATCH(head_scratch)(all.most_keys(), of.head_size);
  const auto bytes = floats * static_cast<int64_t>(sizeof(float));
  all.for_each(bytes, parallel_for,
               [&](const AttentionSequence& sequence, int64_t key_head, void* scratch) {
                 HWY_DYNAMIC_DISPATCH(attend)
                 ({of, sequence, key_head, context}, static_cast<float*>(scratch));
               });
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

#include <algorithm>
#include <cstdlib>
#include <new>

#include "framework/kernels/packed_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/packed_product_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/activation-inl.h"
#include "framework/kernels/product_tile-inl.h"

#ifndef QUELL_PACKED_PRODUCT_PARTS
#define QUELL_PACKED_PRODUCT_PARTS
namespace quell::kernels {

struct PackedProduct {
  const float* x;
  const PackedWeight& weight;
  const Epilogue& epilogue;
  float* y;
};

// Rows and panels of outputs that are computed by one call: few enough for the second-level cache.
struct PartOfProduct {
  int64_t first_row, last_row, first_panel, last_panel;
};

constexpr int64_t kRowsOfPart = 96;
constexpr int64_t kPanelsOfPart = 8;

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

static_assert(kPanel == PackedWeight::kPanel);

// One part of a product.
class Part {
 public:
  Part(const PackedProduct& of, const PartOfProduct& part)
      : of_(of), part_(part), outputs_(of.weight.outputs()), inputs_(of.weight.inputs()) {}

  void compute() {
    const int64_t rows = part_.last_row - part_.first_row;
    const int64_t tiles = (rows + kMostRows - 1) / kMostRows;
    const int64_t wide = panels_of_tile((rows + tiles - 1) / tiles);
    const int64_t depth = of_.weight.block_depth();
    for (int64_t k = 0; k < inputs_; k += depth) {
      for (int64_t p = part_.first_panel; p < part_.last_panel; p += wide) {
        const int64_t last = std::min(p + wide, part_.last_panel);
        for (int64_t t = 0; t < tiles; ++t) {
          compute_tile(part_.first_row + rows * t / tiles, part_.first_row + rows * (t + 1) / tiles,
                       p, last, k, std::min(depth, inputs_ - k));
        }
      }
    }
  }

 private:
  // Whether only a part of a panel are outputs; its values then go through last_.
  bool partial(int64_t panel) const { return (panel + 1) * kPanel > outputs_; }

  void compute_tile(int64_t first_row, int64_t last_row, int64_t panel, int64_t last_panel,
                    int64_t input, int64_t depth) {
    const int64_t rows = last_row - first_row, wide = panels_of_tile(rows);
    while (panel < last_panel) {
      const bool one = panel + wide > last_panel || partial(panel + wide - 1);
      const int64_t panels = one ? 1 : wide;
      float* y = of_.y + first_row * outputs_ + panel * kPanel;
      int64_t y_stride = outputs_;
      if (partial(panel)) {
        y = last_ + (first_row - part_.first_row) * kPanel;
        y_stride = kPanel;
      }
      (one ? kTiles.single : kTiles.wide)[static_cast<size_t>(rows)](
          {of_.x + first_row * inputs_ + input, inputs_, of_.weight.panel(panel, input),
           depth * kPanel, depth, input == 0, y, y_stride});
      if (input + depth == inputs_) finish(first_row, rows, panel, panels, y, y_stride);
      panel += panels;
    }
  }

  void finish(int64_t first_row, int64_t rows, int64_t panel, int64_t panels, float* sums,
              int64_t stride) const {
    const Epilogue& of = of_.epilogue;
    const int64_t at = first_row * outputs_ + panel * kPanel;
    const float* bias = of.bias == nullptr ? nullptr : of.bias + panel * kPanel;
    const float* shortcut = of.shortcut == nullptr ? nullptr : of.shortcut + at;
    if (!partial(panel)) {
      activate(rows, panels * kPanel, bias, shortcut, outputs_, sums, stride);
      return;
    }
    HWY_ALIGN float bias_copy[kPanel] = {}, shortcut_copy[kMostRows * kPanel] = {};
    const int64_t columns = outputs_ - panel * kPanel;
    if (bias != nullptr) std::copy(bias, bias + columns, bias_copy);
    for (int64_t r = 0; shortcut != nullptr && r < rows; ++r) {
      const float* from = shortcut + r * outputs_;
      std::copy(from, from + columns, shortcut_copy + r * kPanel);
    }
    activate(rows, kPanel, bias == nullptr ? nullptr : bias_copy,
             shortcut == nullptr ? nullptr : shortcut_copy, kPanel, sums, stride);
    for (int64_t r = 0; r < rows; ++r) {
      std::copy(sums + r * stride, sums + r * stride + columns, of_.y + at + r * outputs_);
    }
  }

  void activate(int64_t rows, int64_t columns, const float* bias, const float* shortcut,
                int64_t shortcut_stride, float* sums, int64_t stride) const {
    const auto each = [&](const auto& activation) HWY_ATTR {
      const FloatTag tag;
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < columns; c += kLanes) {
          float* at = sums + r * stride + c;
          Vector value = hn::LoadU(tag, at);
          if (bias != nullptr) value = hn::Add(value, hn::LoadU(tag, bias + c));
          value = activation(tag, value);
          if (shortcut != nullptr) {
            value = hn::Add(value, hn::LoadU(tag, shortcut + r * shortcut_stride + c));
          }
          hn::StoreU(value, tag, at);
        }
      }
    };
    switch (of_.epilogue.activation) {
      case Activation::kNone:
        if (bias != nullptr || shortcut != nullptr) each(Identity());
        return;
      case Activation::kRelu:
        return each(Relu());
      case Activation::kGelu:
        return each(Gelu());
      case Activation::kGeluTanh:
        return each(GeluTanh());
    }
  }

  const PackedProduct& of_;
  const PartOfProduct& part_;
  const int64_t outputs_, inputs_;
  HWY_ALIGN float last_[kRowsOfPart * kPanel];
};

void compute_part(const PackedProduct& of, const PartOfProduct& part) { Part(of, part).compute(); }

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(compute_part);

constexpr int64_t kMostDepth = 256;         // a panel of it takes half of the first-level cache
constexpr size_t kAlignment = 64;           // a cache line, and the widest vector
constexpr int64_t kWorthAThread = 1 << 20;  // multiply-adds, some 30 microseconds

int64_t ceiling(int64_t count, int64_t per) { return (count + per - 1) / per; }

}  // namespace

void PackedWeight::Free::operator()(float* data) const { std::free(data); }

PackedWeight::PackedWeight(const float* weight, int64_t outputs, int64_t inputs)
    : outputs_(outputs), inputs_(inputs) {
  block_depth_ = ceiling(inputs, ceiling(inputs, kMostDepth));
  data_.reset(static_cast<float*>(std::aligned_alloc(kAlignment, static_cast<size_t>(bytes()))));
  if (data_ == nullptr) throw std::bad_alloc();
  float* to = data_.get();
  for (int64_t first = 0; first < inputs; first += block_depth_) {
    const int64_t last = std::min(inputs, first + block_depth_);
    for (int64_t row = 0; row < outputs; row += kPanel) {
      for (int64_t k = first; k < last; ++k) {
        for (int64_t r = row; r < row + kPanel; ++r) {
          *to++ = r < outputs ? weight[r * inputs + k] : 0.0f;
        }
      }
    }
  }
}

int64_t PackedWeight::bytes() const {
  return panels() * kPanel * inputs_ * static_cast<int64_t>(sizeof(float));
}

const float* PackedWeight::panel(int64_t panel, int64_t first) const {
  const int64_t depth = std::min(block_depth_, inputs_ - first);
  return data_.get() + (first * panels() + panel * depth) * kPanel;
}

void packed_product(const float* x, int64_t rows, const PackedWeight& weight,
                    const Epilogue& epilogue, float* y, ParallelFor parallel_for) {
  if (rows == 0) return;
  const PackedProduct of{x, weight, epilogue, y};
  const int64_t blocks = ceiling(rows, kRowsOfPart);
  const int64_t chunks = ceiling(weight.panels(), kPanelsOfPart);
  const int64_t work =
      ceiling(rows, blocks) * kPanelsOfPart * PackedWeight::kPanel * weight.inputs();
  parallel_for(0, blocks * chunks, ceiling(kWorthAThread, work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i / chunks, panel = i % chunks * kPanelsOfPart;
      HWY_DYNAMIC_DISPATCH(compute_part)
      (of, {rows * block / blocks, rows * (block + 1) / blocks, panel,
            std::min(panel + kPanelsOfPart, weight.panels())});
    }
  });
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

// Products with a weight that is repacked once: rows [rows, inputs] times weight^T, then bias,
// activation and shortcut while the values are in the cache.
//
// Every value is the same sum whatever else is computed with it: the inputs are cut into blocks of
// equal depth (see block_depth()); within a block products are added in order by fused
// multiply-adds, starting at +0, and the blocks' sums are added in order. So neither the number of
// rows, nor that of threads, nor the instruction set show in the bits. Plain SSE2 (and NEON before
// ARMv8), which have no fused multiply-add, round each product, and exponentials where there are
// some: the same sum, other bits. An error is at most (depth + blocks + 2) * 2^-24 * sum |x w|.
//
// The bits are not those of LibTorch's products, which add in another order.
#pragma once

#include <cstdint>
#include <memory>

#include "framework/kernels/activation.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

// A float32 matrix of which panels of 16 outputs lie input by input, as products read them. Keeps a
// copy: the weight may go. As large as the weight, but for outputs that fill the last panel.
class PackedWeight {
 public:
  static constexpr int64_t kPanel = 16;

  // `weight` is row-major [outputs, inputs]; neither is 0.
  PackedWeight(const float* weight, int64_t outputs, int64_t inputs);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int64_t panels() const { return (outputs_ + kPanel - 1) / kPanel; }
  int64_t bytes() const;
  // Of inputs that are summed up before they are added to the rest: at most 256, the same for all
  // blocks but the last one, which may be shorter.
  int64_t block_depth() const { return block_depth_; }
  // Panel `panel` of the block that starts at input `first`: [inputs of the block, kPanel].
  const float* panel(int64_t panel, int64_t first) const;

 private:
  struct Free {
    void operator()(float* data) const;
  };

  int64_t outputs_, inputs_, block_depth_;
  std::unique_ptr<float[], Free> data_;
};

// y = activation(sum + bias) + shortcut; null leaves a term out.
struct Epilogue {
  const float* bias = nullptr;  // [outputs]
  Activation activation = Activation::kNone;
  const float* shortcut = nullptr;  // [rows, outputs], not y
};

// x [rows, inputs] and y [rows, outputs], both row-major, do not overlap.
void packed_product(const float* x, int64_t rows, const PackedWeight& weight,
                    const Epilogue& epilogue, float* y, ParallelFor parallel_for = serial_for);

}  // namespace quell::kernels

// Fake quantization as the code of Outlier Suppression (Wei et al. 2022) runs it: composed
// operations of LibTorch on padded tensors, in the published sequence. What quell is timed against.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <string>

namespace quell::published {

// A weight: symmetric, one scale per row, from its extremes; quantized anew in every forward pass.
class WeightQuantizer {
 public:
  WeightQuantizer(std::string name, int64_t bits);

  // `weight` [rows, columns], observed and quantized as switched on.
  at::Tensor apply(const at::Tensor& weight);

  bool observe = false, quantize = false;

 private:
  std::string name_;
  int64_t low_, high_;
  at::Tensor scale_, zero_point_;  // [rows]
};

// How the range of an activation is found.
enum class RangeRule {
  kPruneMinMax,  // token-wise clipping
  kMinMax,       // attention probabilities, and what the head sees
};

// An activation: asymmetric, one learnable scale and zero point (LSQ+), mean over batches.
class ActivationQuantizer {
 public:
  ActivationQuantizer(std::string name, int64_t bits, RangeRule rule, at::Device device);

  // `x` with the batch as first axis; `mask` [batch, length] and the axis of the tokens, or an
  // undefined tensor and -1 where the published code gives none.
  at::Tensor apply(const at::Tensor& x, const at::Tensor& mask, int64_t sequence_axis);
  // The next batch is the first one.
  void restart() { batches_ = 0; }

  const std::string& name() const { return name_; }
  bool observe = false, quantize = false;
  double ratio = 1.0;
  at::Tensor scale, zero_point;  // [1] float32

 private:
  void observe_batch(const at::Tensor& x, const at::Tensor& mask, int64_t sequence_axis);
  void update_parameters();

  std::string name_;
  int64_t low_, high_;
  RangeRule rule_;
  int64_t batches_ = 0;
  at::Tensor min_, max_;  // []
};

}  // namespace quell::published

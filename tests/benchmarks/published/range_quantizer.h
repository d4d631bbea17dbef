// Quantizers as the code of Bondarenko et al. (EMNLP 2021) runs them: a range is estimated, turned
// into a scale and a zero point, and applied, each in single operations of LibTorch.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <string>

namespace quell::published {

enum class RangeState {
  kOff,       // values pass
  kEstimate,  // the range follows from the values at hand, which are then quantized
  kFeatures,  // only the range of each feature is noted
  kRemember,  // the values are kept, and pass
};

class RangeQuantizer {
 public:
  RangeQuantizer(std::string name, int64_t bits, bool symmetric)
      : bits_(bits), symmetric_(symmetric), name_(std::move(name)) {}

  // Values of any shape; with `groups` [batch, length, features].
  at::Tensor apply(const at::Tensor& x);
  // With the scale and zero point of a range, as the search for the least squared error tries it.
  at::Tensor apply_range(const at::Tensor& x, double min, double max);

  const std::string& name() const { return name_; }
  // Float32 [1] or, with groups, [features].
  const at::Tensor& scale() const { return scale_; }
  const at::Tensor& zero_point() const { return zero_point_; }
  // Of the batch that came last in the state kFeatures.
  void order_features();
  const at::Tensor& order() const { return order_; }
  // Of kRemember.
  const at::Tensor& values() const { return values_; }

  RangeState state = RangeState::kOff;
  int64_t groups = 0;  // of features; 0: one scale

 private:
  void set_range(const at::Tensor& min, const at::Tensor& max);
  void estimate(const at::Tensor& x);
  at::Tensor quantize(const at::Tensor& x) const;

  int64_t bits_;
  bool symmetric_;
  double low_ = 0, high_ = 0;
  std::string name_;
  at::Tensor scale_, zero_point_;
  at::Tensor feature_ranges_, order_, values_;
};

}  // namespace quell::published

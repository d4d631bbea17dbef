// A weight whose rounding is learned: each value lies between its two neighbours on the grid.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>

#include "framework/kernels/soft_rounding.h"
#include "framework/quant/named_tensors.h"
#include "framework/quant/spec.h"

namespace quell {

class SoftWeight {
 public:
  // Begins at the float values, as far as the grid reaches. `temperature`: see kernels::Relaxation.
  SoftWeight(const at::Tensor& weight, const QuantParameters& parameters, const QuantSpec& spec,
             kernels::Relaxation relaxation, double temperature);

  // As [rows, columns]; a vector is one row.
  int64_t rows() const { return values_.size(0); }
  int64_t columns() const { return values_.size(1); }
  // [rows, columns], float32.
  const at::Tensor& values() const { return values_; }
  // The learned variable [rows, columns]; it may be changed, then call soften().
  const at::Tensor& variable() const { return variable_; }
  void soften(double temperature);

  // Moves each variable to the side of its nearer neighbour on the grid, seen from the values
  // `best` [rows, columns]; the upper one of two that are as near.
  void choose_nearer(const at::Tensor& best);

  // A step of Adam along the gradient [rows, columns] of a loss by values(), which it brings up to
  // date. Returns the regularizer's sum in front of it.
  double step(const at::Tensor& gradient, const kernels::RoundingStep& step);

  // The decisions, uint8 of the weight's shape: 1 where h >= 1/2.
  at::Tensor upper() const;
  // The values [rows, columns] that follow from them.
  at::Tensor hard_values() const { return neighbours(variable_.ge(0)); }

  // All that later steps depend on, but for the weight. Throws DataError for another's.
  NamedTensors state() const;
  void set_state(const NamedTensors& state, double temperature);

 private:
  // The upper neighbours where `upper` [rows, columns] is true, the lower ones elsewhere.
  at::Tensor neighbours(const at::Tensor& upper) const;
  // Calls work(part, index of its first value) for the stretches of rows first..last whose scales
  // the kernel takes at once.
  void for_each_stretch(
      int64_t first, int64_t last,
      const std::function<void(const kernels::SoftWeights&, int64_t)>& work) const;
  int64_t rows_of_piece() const;

  kernels::Relaxation relaxation_;
  std::vector<int64_t> shape_;
  kernels::Levels levels_;
  int64_t channels_, inner_;                               // of the map of scales
  at::Tensor scale_, zero_point_;                          // [channels]
  at::Tensor lower_, variable_, first_, second_, values_;  // [rows, columns]
};

}  // namespace quell

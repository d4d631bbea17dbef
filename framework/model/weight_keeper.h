// What an engine is beside that holds weights in a form of its own.
#pragma once

#include <ATen/core/Tensor.h>

#include "framework/model/rows.h"

namespace quell {

class WeightKeeper {
 public:
  virtual ~WeightKeeper() = default;
  // Whether all that products of this weight of a linear read is held here by now. If so,
  // `instead`, of the same shape, stands for the weight from then on, which may go. Several threads
  // may call these, but not while anything is computed with the weight.
  virtual bool keep(const at::Tensor& weight, const at::Tensor& instead) const = 0;
  // The same of a table on a grid, whose rows are looked up: it is held from then on, if it can be.
  virtual bool keep_table(const Weight& table, const at::Tensor& instead) const = 0;
  // The rows with these ids [n] of what stands for a table, on its grid, [n, features] float32;
  // undefined where it stands for none.
  virtual at::Tensor rows_of_table(const at::Tensor& instead, const at::Tensor& ids) const = 0;
};

}  // namespace quell

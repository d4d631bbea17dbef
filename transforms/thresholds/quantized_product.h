// Products of rows and weights that are quantized for one comparison, by the fastest route there
// is: as 8-bit codes where both have such and the processor multiplies them, else as floats. All of
// it is on the host, wherever rows and weights come from.
#pragma once

#include <ATen/core/Tensor.h>
#include <memory>

#include "framework/kernels/integer_product.h"
#include "framework/kernels/packed_product.h"
#include "framework/quant/spec.h"

namespace quell {

// Whether products of such rows [n, inputs] and a weight [outputs, inputs] are those of codes; null
// where one stays in float.
bool multiplies_codes(const QuantSpec* rows, const QuantSpec* weight, int64_t inputs);

class QuantizedRows {
 public:
  // Of float rows [n, inputs], which go on as they are.
  explicit QuantizedRows(const at::Tensor& rows);
  // Of float rows divided by `divisor` [features], in a range that is read unless scales are
  // dynamic.
  QuantizedRows(const at::Tensor& rows, const at::Tensor& divisor, const QuantSpec& spec,
                const Range& range, bool as_codes);

  bool are_codes() const { return codes_.defined(); }
  int64_t size() const { return (are_codes() ? codes_ : values_).size(0); }
  const at::Tensor& values() const { return values_; }
  kernels::IntegerRows codes() const;

 private:
  at::Tensor values_;  // [n, inputs]; or undefined, and these are not:
  at::Tensor codes_, scale_, zero_point_;
};

class QuantizedWeight {
 public:
  // Of values [outputs, inputs] in float.
  explicit QuantizedWeight(const at::Tensor& values);
  // Of values times `factor` [inputs], by a specification if there is one. `features` are the
  // extremes of the columns of all of the weight, of which the values may be some rows.
  QuantizedWeight(const at::Tensor& values, const at::Tensor& factor, const QuantSpec* spec,
                  const Range& features, bool as_codes);

  bool are_codes() const { return codes_ != nullptr; }
  int64_t outputs() const { return are_codes() ? codes_->outputs() : floats_->outputs(); }
  int64_t bytes() const { return are_codes() ? codes_->bytes() : floats_->bytes(); }
  // rows * weight^T, [rows, outputs]. Both are codes, or neither.
  at::Tensor product(const QuantizedRows& rows) const;

 private:
  void pack(const at::Tensor& values);
  void pack_codes(const at::Tensor& values, const at::Tensor& factor, const QuantSpec& spec,
                  const Range& features);

  std::shared_ptr<const kernels::IntegerWeight> codes_;
  std::shared_ptr<const kernels::PackedWeight> floats_;
};

}  // namespace quell

// quell's own float kernels: each weight is packed once and read from then on as products read it,
// and what follows a product is computed while its values are in the cache. A value does not depend
// on which other rows are computed with it, nor on the number of threads; its bits are not those of
// LibTorch.
#pragma once

#include "engines/packing/made_of_weights.h"
#include "framework/kernels/packed_product.h"
#include "framework/model/engine.h"

namespace quell {

class PackedEngine : public Engine {
 public:
  bool joins() const override { return true; }
  Rows linear(const Product& product) const override;
  Rows attention(const AttentionSpans& spans, const AttentionShape& shape, const Rows& query,
                 const Rows& key, const Rows& value, const AttentionGrids& grids) const override;
  at::Tensor norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                  const at::Tensor& added) const override;
  // As much as the weights themselves.
  int64_t bytes() const override { return packed_.bytes(); }

 private:
  MadeOfWeights<kernels::PackedWeight> packed_;
};

}  // namespace quell

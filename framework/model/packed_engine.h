// quell's own kernels: each weight is packed once and read from then on as products read it, and
// what follows a product is computed while its values are in the cache. A value does not depend on
// which other rows are computed with it, nor on the number of threads; its bits are not those of
// LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>

#include "framework/kernels/packed_product.h"
#include "framework/model/engine.h"

namespace quell {

class PackedEngine final : public Engine {
 public:
  at::Tensor linear(const at::Tensor& rows, const at::Tensor& weight, const at::Tensor& bias,
                    kernels::Activation activation = kernels::Activation::kNone) const override;
  at::Tensor attention(const AttentionSpans& spans, const AttentionShape& shape,
                       const at::Tensor& query, const at::Tensor& key,
                       const at::Tensor& value) const override;
  at::Tensor layer_norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                        const at::Tensor& added) const override;

  // Of the packed weights, as large as the weights themselves.
  int64_t bytes() const;

 private:
  // Valid as long as the weight lives and is not written into.
  struct Entry {
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;
    int64_t version = 0;
    std::shared_ptr<const kernels::PackedWeight> packed;
  };
  std::shared_ptr<const kernels::PackedWeight> packed(const at::Tensor& weight) const;
  std::shared_ptr<const kernels::PackedWeight> find(const at::Tensor& weight) const;

  mutable std::shared_mutex mutex_;
  mutable std::map<const void*, Entry> entries_;  // by where the values of the weight lie
};

}  // namespace quell

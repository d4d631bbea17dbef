// quell's own kernels: each weight is packed once and read from then on as products read it, and
// what follows a product is computed while its values are in the cache. A value does not depend on
// which other rows are computed with it, nor on the number of threads; its bits are not those of
// LibTorch.

#include <ATen/ops/empty.h>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "framework/base/error.h"
#include "framework/kernels/attention.h"
#include "framework/kernels/norm.h"
#include "framework/kernels/packed_product.h"
#include "framework/model/engine.h"
#include "framework/plugin/registry.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

class Packed final : public Engine {
 public:
  explicit Packed(const NoParams&) {}

  bool joins() const override { return true; }
  at::Tensor linear(const at::Tensor& rows, const at::Tensor& weight, const at::Tensor& bias,
                    kernels::Activation activation) const override;
  at::Tensor attention(const AttentionSpans& spans, const AttentionShape& shape,
                       const at::Tensor& query, const at::Tensor& key,
                       const at::Tensor& value) const override;
  at::Tensor norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                  const at::Tensor& added) const override;
  // As much as the weights themselves.
  int64_t bytes() const override;

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

std::shared_ptr<const kernels::PackedWeight> Packed::find(const at::Tensor& weight) const {
  const auto found = entries_.find(weight.const_data_ptr());
  if (found == entries_.end()) return nullptr;
  const Entry& entry = found->second;
  const bool same = !entry.storage.expired() && entry.version == weight._version() &&
                    entry.packed->outputs() == weight.size(0) &&
                    entry.packed->inputs() == weight.size(1);
  return same ? entry.packed : nullptr;
}

std::shared_ptr<const kernels::PackedWeight> Packed::packed(const at::Tensor& weight) const {
  {
    const std::shared_lock lock(mutex_);
    if (auto known = find(weight)) return known;
  }
  const std::unique_lock lock(mutex_);
  if (auto known = find(weight)) return known;  // another thread was faster
  std::erase_if(entries_, [](const auto& entry) { return entry.second.storage.expired(); });
  const at::Tensor dense = weight.contiguous();
  auto made = std::make_shared<const kernels::PackedWeight>(dense.const_data_ptr<float>(),
                                                            dense.size(0), dense.size(1));
  entries_.insert_or_assign(weight.const_data_ptr(),
                            Entry{weight.storage().getWeakStorageImpl(), weight._version(), made});
  return made;
}

at::Tensor Packed::linear(const at::Tensor& rows, const at::Tensor& weight, const at::Tensor& bias,
                          kernels::Activation activation) const {
  QUELL_ASSERT(rows.dim() == 2 && rows.scalar_type() == at::kFloat, "rows [n, inputs] of float32");
  const std::shared_ptr<const kernels::PackedWeight> by = packed(weight);
  const at::Tensor dense = rows.contiguous();
  at::Tensor result = at::empty({dense.size(0), by->outputs()}, dense.options());
  kernels::Epilogue epilogue{.activation = activation};
  if (bias.defined()) epilogue.bias = bias.const_data_ptr<float>();
  kernels::packed_product(dense.const_data_ptr<float>(), dense.size(0), *by, epilogue,
                          result.mutable_data_ptr<float>(), parallel_for);
  return result;
}

at::Tensor Packed::attention(const AttentionSpans& spans, const AttentionShape& shape,
                             const at::Tensor& query, const at::Tensor& key,
                             const at::Tensor& value) const {
  QUELL_ASSERT(query.stride(1) == 1 && key.stride(1) == 1 && value.stride(1) == 1,
               "features one after another");
  const auto rows_of = [](const at::Tensor& rows) {
    return kernels::HeadRows{rows.const_data_ptr<float>(), rows.stride(0)};
  };
  const kernels::AttentionOperands operands{
      .query = rows_of(query),
      .key = rows_of(key),
      .value = rows_of(value),
      .heads = shape.heads,
      .key_heads = shape.key_heads,
      .head_size = query.size(1) / shape.heads,
      .factor = static_cast<float>(1 / shape.divisor),
      .slopes = shape.slopes.empty() ? nullptr : shape.slopes.data(),
      .causal = spans.causal};
  std::vector<kernels::AttentionSequence> sequences;
  sequences.reserve(static_cast<size_t>(spans.sequences()));
  for (int64_t i = 0; i < spans.sequences(); ++i) {
    sequences.push_back({spans.queries[i], spans.query_count(i), spans.keys[i], spans.key_count(i),
                         spans.valid_keys[i]});
  }
  at::Tensor context = at::empty({query.size(0), query.size(1)}, query.options());
  kernels::attention(operands, sequences, context.mutable_data_ptr<float>(), parallel_for);
  return context;
}

at::Tensor Packed::norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                        const at::Tensor& added) const {
  if (norm.kind != NormKind::kLayer) return Engine::norm(norm, gamma, rows, added);
  const at::Tensor dense = rows.contiguous();
  at::Tensor result = at::empty({dense.size(0), dense.size(1)}, dense.options());
  const at::Tensor other = added.defined() ? added.contiguous() : added;
  kernels::layer_norm({gamma.const_data_ptr<float>(),
                       norm.bias.defined() ? norm.bias.const_data_ptr<float>() : nullptr,
                       static_cast<float>(norm.epsilon)},
                      dense.const_data_ptr<float>(),
                      other.defined() ? other.const_data_ptr<float>() : nullptr, dense.size(0),
                      dense.size(1), result.mutable_data_ptr<float>(), parallel_for);
  return result;
}

int64_t Packed::bytes() const {
  const std::shared_lock lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [place, entry] : entries_) bytes += entry.packed->bytes();
  return bytes;
}

}  // namespace

void register_engine_packed(Plugins& plugins) {
  add_plugin<Packed, NoParams>(
      plugins.engines, "packed",
      "quell's own float kernels: weights packed once, several operations in one.",
      "packed products: Goto, van de Geijn 2008");
}

}  // namespace quell

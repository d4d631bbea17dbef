#include "framework/model/packed_engine.h"

#include <ATen/ops/empty.h>
#include <mutex>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"

namespace quell {

std::shared_ptr<const kernels::PackedWeight> PackedEngine::find(const at::Tensor& weight) const {
  const auto found = entries_.find(weight.const_data_ptr());
  if (found == entries_.end()) return nullptr;
  const Entry& entry = found->second;
  const bool same = !entry.storage.expired() && entry.version == weight._version() &&
                    entry.packed->outputs() == weight.size(0) &&
                    entry.packed->inputs() == weight.size(1);
  return same ? entry.packed : nullptr;
}

std::shared_ptr<const kernels::PackedWeight> PackedEngine::packed(const at::Tensor& weight) const {
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

at::Tensor PackedEngine::linear(const at::Tensor& rows, const at::Tensor& weight,
                                const at::Tensor& bias) const {
  QUELL_ASSERT(rows.dim() == 2 && rows.scalar_type() == at::kFloat, "rows [n, inputs] of float32");
  const std::shared_ptr<const kernels::PackedWeight> by = packed(weight);
  const at::Tensor dense = rows.contiguous();
  at::Tensor result = at::empty({dense.size(0), by->outputs()}, dense.options());
  kernels::Epilogue epilogue;
  if (bias.defined()) epilogue.bias = bias.const_data_ptr<float>();
  kernels::packed_product(dense.const_data_ptr<float>(), dense.size(0), *by, epilogue,
                          result.mutable_data_ptr<float>(), parallel_for);
  return result;
}

int64_t PackedEngine::bytes() const {
  const std::shared_lock lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [place, entry] : entries_) bytes += entry.packed->bytes();
  return bytes;
}

}  // namespace quell

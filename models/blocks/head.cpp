#include "models/blocks/head.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

namespace quell {

at::Tensor first_rows(const at::Tensor& rows, const Batch& batch) {
  if (rows.size(0) == batch.sequences()) return rows;
  std::vector<int64_t> first_tokens(batch.offsets.begin(), batch.offsets.end() - 1);
  return at::index_select(rows, 0, at::tensor(first_tokens, at::kLong));
}

}  // namespace quell

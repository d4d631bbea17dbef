#include "framework/quant/real_rows.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <algorithm>

namespace quell {

RealRows::RealRows(std::span<const int64_t> offsets, std::span<const int64_t> valid_lengths)
    : offsets_(offsets.begin(), offsets.end()),
      valid_lengths_(valid_lengths.begin(), valid_lengths.end()) {}

at::Tensor RealRows::of(const at::Tensor& rows, int64_t heads) const {
  const int64_t matrices = std::max<int64_t>(heads, 1);  // of a sequence, one after another
  if (rows.size(0) != offsets_.back() * matrices) return rows;
  std::vector<int64_t> real;
  for (size_t i = 0; i < valid_lengths_.size(); ++i) {
    const int64_t length = offsets_[i + 1] - offsets_[i];
    for (int64_t matrix = 0; matrix < matrices; ++matrix) {
      const int64_t first = offsets_[i] * matrices + matrix * length;
      for (int64_t row = 0; row < valid_lengths_[i]; ++row) real.push_back(first + row);
    }
  }
  if (std::ssize(real) == rows.size(0)) return rows;
  return at::index_select(rows, 0, at::tensor(real, at::kLong).to(rows.device()));
}

}  // namespace quell

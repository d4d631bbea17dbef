// Rows of a site without those of padding.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <span>
#include <vector>

namespace quell {

// The rows of a batch that are no padding. Sequence i has its tokens in the rows offsets[i] ..
// offsets[i + 1], real ones first.
class RealRows {
 public:
  RealRows(std::span<const int64_t> offsets, std::span<const int64_t> valid_lengths);

  // Of rows of tokens, or of attention matrices [sum of heads * queries, columns] whose queries
  // they are. Rows of another number, such as one for each sequence, are given back.
  at::Tensor of(const at::Tensor& rows, int64_t heads = 0) const;

 private:
  std::vector<int64_t> offsets_, valid_lengths_;
};

}  // namespace quell

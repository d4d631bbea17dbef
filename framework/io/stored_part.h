// Tensors that a file has as a part of a larger one, or with rows and columns exchanged: fused
// projections and GPT-2's "Conv1D".
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <string>
#include <vector>

namespace quell {

// How a tensor lies in one of the file: by default as it is.
struct StoredPart {
  std::string of = {};      // name of the file's tensor; empty: the tensor's own
  bool transposed = false;  // the file's tensor [a, b] is to be read as [b, a]
  // Its rows are then `groups` times `group_rows`, and ours are those of each group from `first`
  // on, the same number in each. 0: all rows are ours.
  int64_t groups = 1, group_rows = 0, first = 0;

  // The file's tensor, as it is.
  bool is_whole() const { return !transposed && group_rows == 0; }
};

// The shape of the file's tensor for one of the shape `shape`.
std::vector<int64_t> stored_shape(const StoredPart& part, const std::vector<int64_t>& shape);

// The tensor of that shape out of the file's, `stored` itself where it is the whole as it is.
at::Tensor take_part(const StoredPart& part, const at::Tensor& stored,
                     const std::vector<int64_t>& shape);

// The inverse: writes `tensor` to its place in the file's tensor, which is made, of zeros, where it
// is undefined. A whole tensor becomes `stored` itself.
void put_part(const StoredPart& part, const at::Tensor& tensor, at::Tensor& stored);

}  // namespace quell

// Whether two tensors are the same, to the last bit.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstring>

namespace quell {

// Same type, shape and bytes: unlike at::equal(), -0 is not +0. NaN equals nothing.
inline bool equal_bits(const at::Tensor& found, const at::Tensor& golden) {
  if (found.sizes() != golden.sizes() || found.scalar_type() != golden.scalar_type()) return false;
  const at::Tensor left = found.detach().contiguous(), right = golden.detach().contiguous();
  return left.equal(right) &&
         (left.nbytes() == 0 ||
          std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0);
}

}  // namespace quell

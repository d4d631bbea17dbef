// Activations of other programs as rows of tokens.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <vector>

namespace quell {

// `values` with its tokens as rows: [batch * length, features], where `length` is the axis of the
// tokens and the features are all the axes behind the first one but it, in their order (heads
// and width of [batch, heads, length, width]). Axis 0 means that there is no batch. Throws
// ConfigError when the axis does not exist.
at::Tensor token_rows(const at::Tensor& values, int64_t sequence_axis);

// The same without padding: of sequence i the first lengths[i] tokens. Sequences behind the last
// length are left out. Throws ConfigError when there are more lengths than sequences, or one of
// them is not in [0, length].
at::Tensor token_rows(const at::Tensor& values, int64_t sequence_axis,
                      const std::vector<int64_t>& lengths);

// Back from token_rows() of all tokens to the shape of `like`.
at::Tensor from_token_rows(const at::Tensor& rows, const at::Tensor& like, int64_t sequence_axis);

}  // namespace quell

// The values of one scale, wherever they lie in a tensor.
#pragma once

#include <functional>
#include <vector>

#include "framework/quant/spec.h"

namespace quell {

// Calls visit(channel, values) for every scale of the granularity of `spec`, in parallel, with a
// copy of the values [outer * inner] of `rows` (float32) that share it.
void for_each_channel(const at::Tensor& rows, const QuantSpec& spec,
                      const std::function<void(int64_t channel, std::vector<float> values)>& visit);

}  // namespace quell

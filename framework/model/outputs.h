// What a model gives.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <map>
#include <string>

namespace quell {

// Named output tensors: "logits" [sequences, labels].
using Outputs = std::map<std::string, at::Tensor>;
// Receives the outputs of the batches, by their indices: in any order and from any thread, one at a
// time.
using OutputSink = std::function<void(size_t batch, const Outputs& outputs)>;

}  // namespace quell

// Tensors by name: what is stored of something that has a state.
#pragma once

#include <ATen/core/Tensor.h>
#include <map>
#include <string>

namespace quell {

using NamedTensors = std::map<std::string, at::Tensor>;

// Adds `part` to `all`, with `prefix` in front of every name.
void add_named(const std::string& prefix, const NamedTensors& part, NamedTensors& all);
// What add_named() added.
NamedTensors part_of(const NamedTensors& all, const std::string& prefix);
// Throws DataError where there is none of that name.
const at::Tensor& stored_tensor(const NamedTensors& all, const std::string& name);

}  // namespace quell

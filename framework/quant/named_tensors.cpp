#include "framework/quant/named_tensors.h"

#include <fmt/format.h>

#include "framework/base/error.h"

namespace quell {

void add_named(const std::string& prefix, const NamedTensors& part, NamedTensors& all) {
  for (const auto& [name, tensor] : part) all[prefix + name] = tensor;
}

NamedTensors part_of(const NamedTensors& all, const std::string& prefix) {
  NamedTensors part;
  for (auto one = all.lower_bound(prefix); one != all.end() && one->first.starts_with(prefix);
       ++one) {
    part[one->first.substr(prefix.size())] = one->second;
  }
  return part;
}

const at::Tensor& stored_tensor(const NamedTensors& all, const std::string& name) {
  const auto found = all.find(name);
  if (found != all.end()) return found->second;
  throw DataError(
      fmt::format("what was stored has no \"{}\"; it belongs to another run or version", name));
}

}  // namespace quell

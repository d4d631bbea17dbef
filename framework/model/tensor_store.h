// Tensors that a pipeline may share with other runs.
#pragma once

#include <optional>
#include <string>

#include "framework/quant/named_tensors.h"

namespace quell {

// Keeps tensors by what they follow from, besides the network and the data of the step that asks.
class TensorStore {
 public:
  virtual ~TensorStore() = default;
  virtual std::optional<NamedTensors> find(const std::string& what) const = 0;
  virtual void keep(const std::string& what, const NamedTensors& tensors) const = 0;
};

}  // namespace quell

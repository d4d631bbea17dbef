#include "models/blocks/layers.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <fmt/format.h>
#include <map>
#include <vector>

#include "framework/base/error.h"
#include "framework/base/suggest.h"

namespace quell {

Nonlinearity nonlinearity_from_name(const std::string& name, const std::string& file) {
  static const std::map<std::string, Nonlinearity> known = {
      {"gelu", Nonlinearity::kGelu},
      {"gelu_new", Nonlinearity::kGeluTanh},
      {"gelu_pytorch_tanh", Nonlinearity::kGeluTanh},
      {"relu", Nonlinearity::kRelu},
      {"silu", Nonlinearity::kSilu},
      {"swish", Nonlinearity::kSilu},
      {"tanh", Nonlinearity::kTanh}};
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& entry : known) names.push_back(entry.first);
  throw DataError(fmt::format("{}: hidden_act: unknown activation \"{}\"{}", file, name,
                              did_you_mean(name, names)));
}

at::Tensor apply(Nonlinearity nonlinearity, at::Tensor rows) {
  switch (nonlinearity) {
    case Nonlinearity::kGelu:
      return at::gelu_(rows);
    case Nonlinearity::kGeluTanh:
      return at::gelu_(rows, "tanh");
    case Nonlinearity::kRelu:
      return at::relu_(rows);
    case Nonlinearity::kSilu:
      return at::silu_(rows);
    case Nonlinearity::kTanh:
      return at::tanh_(rows);
  }
  QUELL_ASSERT(false, "unhandled nonlinearity");
}

}  // namespace quell

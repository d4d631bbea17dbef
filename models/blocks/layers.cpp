#include "models/blocks/layers.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/hardswish.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/mish.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/tanh.h>
#include <fmt/format.h>
#include <cmath>
#include <map>
#include <vector>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/kernels/silu.h"
#include "framework/quant/device.h"

namespace quell {
namespace {

// LibTorch's takes three times as long, but knows gradients and every device.
at::Tensor times_sigmoid(at::Tensor rows) {
  const bool plain = rows.is_contiguous() && rows.scalar_type() == at::kFloat &&
                     !(at::GradMode::is_enabled() && rows.requires_grad());
  if (plain && kernels::silu(kernel_device(rows), rows.mutable_data_ptr<float>(), rows.numel())) {
    return rows;
  }
  return at::silu_(rows);
}

}  // namespace

Nonlinearity nonlinearity_from_name(const std::string& name, const std::string& file,
                                    const std::string& key) {
  static const std::map<std::string, Nonlinearity> known = {
      {"gelu", Nonlinearity::kGelu},
      {"gelu_10", Nonlinearity::kGelu10},
      {"gelu_accurate", Nonlinearity::kGeluTanh},
      {"gelu_fast", Nonlinearity::kGeluTanh},
      {"gelu_new", Nonlinearity::kGeluTanh},
      {"gelu_python", Nonlinearity::kGelu},
      {"gelu_python_tanh", Nonlinearity::kGeluTanh},
      {"gelu_pytorch_tanh", Nonlinearity::kGeluTanh},
      {"hardswish", Nonlinearity::kHardswish},
      {"laplace", Nonlinearity::kLaplace},
      {"leaky_relu", Nonlinearity::kLeakyRelu},
      {"linear", Nonlinearity::kLinear},
      {"mish", Nonlinearity::kMish},
      {"quick_gelu", Nonlinearity::kQuickGelu},
      {"relu", Nonlinearity::kRelu},
      {"relu2", Nonlinearity::kRelu2},
      {"relu6", Nonlinearity::kRelu6},
      {"sigmoid", Nonlinearity::kSigmoid},
      {"silu", Nonlinearity::kSilu},
      {"sqrtsoftplus", Nonlinearity::kSqrtSoftplus},
      {"swish", Nonlinearity::kSilu},
      {"tanh", Nonlinearity::kTanh}};
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  if (name == "prelu" || name == "xielu") {
    throw DataError(fmt::format(
        "{}: {}: \"{}\" has learned parameters and is not supported; use a model with another",
        file, key, name));
  }
  std::vector<std::string> names;
  for (const auto& entry : known) names.push_back(entry.first);
  throw DataError(fmt::format("{}: {}: unknown activation \"{}\"{}", file, key, name,
                              did_you_mean(name, names)));
}

kernels::Activation joined_activation(Nonlinearity nonlinearity) {
  switch (nonlinearity) {
    case Nonlinearity::kGelu:
      return kernels::Activation::kGelu;
    case Nonlinearity::kGeluTanh:
      return kernels::Activation::kGeluTanh;
    case Nonlinearity::kRelu:
      return kernels::Activation::kRelu;
    default:
      return kernels::Activation::kNone;
  }
}

at::Tensor apply(Nonlinearity nonlinearity, at::Tensor rows) {
  constexpr double kCut = 10, kQuick = 1.702;
  constexpr double kLaplaceMean = 0.707107, kLaplaceDeviation = 0.282095;
  switch (nonlinearity) {
    case Nonlinearity::kGelu:
      return at::gelu_(rows);
    case Nonlinearity::kGelu10:
      return at::gelu(rows).clamp(-kCut, kCut);
    case Nonlinearity::kGeluTanh:
      return at::gelu_(rows, "tanh");
    case Nonlinearity::kHardswish:
      return at::hardswish(rows);
    case Nonlinearity::kLaplace:
      return rows.sub(kLaplaceMean).div(kLaplaceDeviation * std::sqrt(2.0)).erf().add(1).mul(0.5);
    case Nonlinearity::kLeakyRelu:
      return at::leaky_relu(rows);
    case Nonlinearity::kLinear:
      return rows;
    case Nonlinearity::kMish:
      return at::mish(rows);
    case Nonlinearity::kQuickGelu:
      return rows.mul(rows.mul(kQuick).sigmoid());
    case Nonlinearity::kRelu:
      return at::relu_(rows);
    case Nonlinearity::kRelu2:
      return at::relu(rows).square();
    case Nonlinearity::kRelu6:
      return at::relu(rows).clamp_max(6);
    case Nonlinearity::kSigmoid:
      return rows.sigmoid();
    case Nonlinearity::kSilu:
      return times_sigmoid(std::move(rows));
    case Nonlinearity::kSqrtSoftplus:
      return at::softplus(rows).sqrt();
    case Nonlinearity::kTanh:
      return at::tanh_(rows);
  }
  QUELL_ASSERT(false, "unhandled nonlinearity");
}

GraphWriter::Value write(Nonlinearity nonlinearity, GraphWriter& writer,
                         const GraphWriter::Value& rows) {
  constexpr float kQuick = 1.702F;
  switch (nonlinearity) {
    case Nonlinearity::kGelu:
      return writer.operation("Gelu", {rows});
    case Nonlinearity::kGeluTanh:
      return writer.operation("Gelu", {rows}, {{"approximate", "tanh"}});
    case Nonlinearity::kHardswish:
      return writer.operation("HardSwish", {rows});
    case Nonlinearity::kLinear:
      return rows;
    case Nonlinearity::kMish:
      return writer.operation("Mish", {rows});
    case Nonlinearity::kQuickGelu: {
      const auto gate = writer.operation("Mul", {rows, writer.constant(kQuick)});
      return writer.operation("Mul", {rows, writer.operation("Sigmoid", {gate})});
    }
    case Nonlinearity::kRelu:
      return writer.operation("Relu", {rows});
    case Nonlinearity::kSigmoid:
      return writer.operation("Sigmoid", {rows});
    case Nonlinearity::kSilu:
      return writer.operation("Mul", {rows, writer.operation("Sigmoid", {rows})});
    case Nonlinearity::kTanh:
      return writer.operation("Tanh", {rows});
    default:
      refuse_graph("this model's activation function");
  }
}

}  // namespace quell

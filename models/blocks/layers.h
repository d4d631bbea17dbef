// The non-linearities of transformers.
#pragma once

#include <ATen/core/Tensor.h>
#include <string>

#include "framework/kernels/activation.h"
#include "framework/model/graph_writer.h"

namespace quell {

// The non-linearity between the two linears of a feed-forward block.
enum class Nonlinearity {
  kGelu,
  kGelu10,  // GELU, cut to [-10, 10]
  kGeluTanh,
  kHardswish,
  kLaplace,  // the error function, as MEGA has it
  kLeakyRelu,
  kLinear,
  kMish,
  kQuickGelu,
  kRelu,
  kRelu2,
  kRelu6,
  kSigmoid,
  kSilu,
  kSqrtSoftplus,
  kTanh
};

// From a name of Hugging Face's (ACT2FN), which `key` of a config.json gives. Throws DataError
// naming what is known.
Nonlinearity nonlinearity_from_name(const std::string& name, const std::string& file,
                                    const std::string& key);

// How an engine computes it along with a product; kNone where none does.
kernels::Activation joined_activation(Nonlinearity nonlinearity);

// May overwrite rows.
at::Tensor apply(Nonlinearity nonlinearity, at::Tensor rows);
GraphWriter::Value write(Nonlinearity nonlinearity, GraphWriter& writer,
                         const GraphWriter::Value& rows);

}  // namespace quell

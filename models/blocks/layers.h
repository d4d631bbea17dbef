// The non-linearities of transformers.
#pragma once

#include <ATen/core/Tensor.h>
#include <string>

namespace quell {

// The non-linearity between the two linears of a feed-forward block.
enum class Nonlinearity { kGelu, kGeluTanh, kRelu, kSilu, kTanh };

// From the `hidden_act` of config.json. Throws DataError naming what is known.
Nonlinearity nonlinearity_from_name(const std::string& name, const std::string& file);

// Overwrites rows.
at::Tensor apply(Nonlinearity nonlinearity, at::Tensor rows);

}  // namespace quell

// The building blocks that transformer encoders share. Each knows its sites and runs on packed
// rows [tokens, features].
#pragma once

#include <ATen/core/Tensor.h>
#include <string>

#include "framework/model/batch.h"
#include "framework/model/graph.h"
#include "framework/quant/context.h"

namespace quell {

struct Linear {
  at::Tensor weight;  // [outputs, inputs]
  at::Tensor bias;    // [outputs]
  SiteId weight_site = kNoSite;

  at::Tensor forward(QuantContext& context, const at::Tensor& rows) const;
};

struct Norm {
  at::Tensor weight;  // gamma [features]
  at::Tensor bias;    // beta [features]
  double epsilon = 1e-12;
  SiteId weight_site = kNoSite;
  SiteId output_site = kNoSite;

  at::Tensor forward(QuantContext& context, const at::Tensor& rows) const;
  // For the graph: this norm, still without what reads it.
  NormGroup group(const std::string& name);
};

// The non-linearity between the two linears of a feed-forward block.
enum class Nonlinearity { kGelu, kGeluTanh, kRelu, kSilu, kTanh };

// From the `hidden_act` of config.json. Throws DataError naming what is known.
Nonlinearity nonlinearity_from_name(const std::string& name, const std::string& file);

// Overwrites rows.
at::Tensor apply(Nonlinearity nonlinearity, at::Tensor rows);

}  // namespace quell

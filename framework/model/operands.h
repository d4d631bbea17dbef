// The parts of a model that hold tensors. The tensors are the model's own: writing into them
// changes the model. They are undefined while the segment that they belong to is not in memory.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <variant>

#include "framework/quant/site.h"

namespace quell {

// rows * weight^T + bias.
struct Linear {
  at::Tensor weight;  // [outputs, inputs]
  at::Tensor bias;    // [outputs]; undefined: there is none
  SiteId weight_site = kNoSite;
  // What the model computes of each output before anything else sees it; empty: nothing. May
  // overwrite them. The pass leaves it to the model; it is for those who look at operations.
  std::function<at::Tensor(at::Tensor outputs)> nonlinearity = {};
};

// Rows that are looked up by an id.
struct EmbeddingTable {
  at::Tensor weight;  // [entries, features]
  SiteId weight_site = kNoSite;
};

enum class NormKind {
  kLayer,  // gamma * (x - mean) / sqrt(variance + epsilon) + beta (Ba et al. 2016)
  kRms,    // gamma * x / sqrt(mean of squares + epsilon) (Zhang, Sennrich 2019)
  kNone,   // gamma * x + beta (MobileBERT, Sun et al. 2020)
};

struct Norm {
  NormKind kind = NormKind::kLayer;
  at::Tensor weight;  // gamma [features]
  at::Tensor bias;    // beta [features]; undefined: there is none
  double epsilon = 1e-12;
  SiteId weight_site = kNoSite;
  SiteId output_site = kNoSite;
};

// What has a weight. Never null.
using Operand = std::variant<const Linear*, const EmbeddingTable*, const Norm*>;

inline SiteId weight_site(const Operand& operand) {
  return std::visit([](const auto* one) { return one->weight_site; }, operand);
}

// A residual connection: rows that are added to the output of a branch.
struct Shortcut {
  at::Tensor scale;  // [features], multiplies the rows; undefined: they are added as they are
  at::Tensor shift;  // [features], added to the rows after that; undefined: nothing is

  bool is_plain() const { return !scale.defined() && !shift.defined(); }
  // branch + scale * rows + shift, written into `branch` [tokens, features].
  at::Tensor add(at::Tensor branch, const at::Tensor& rows) const;
};

}  // namespace quell

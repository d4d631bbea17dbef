// What transforms may rewrite: parts of a model whose weights can be traded against each other
// without changing what the model computes.
#pragma once

#include <ATen/core/Tensor.h>
#include <string>
#include <vector>

#include "framework/quant/site.h"

namespace quell {

// A residual connection: rows that are added to the output of a branch.
struct Shortcut {
  at::Tensor scale;  // [features], multiplies the rows; undefined: they are added as they are

  // branch + scale * rows, written into `branch` [tokens, features].
  at::Tensor add(at::Tensor branch, const at::Tensor& rows) const;
};

// A linear that reads rows: scaling their features is undone by its columns.
struct Consumer {
  at::Tensor weight;  // [outputs, features]
  SiteId weight_site = kNoSite;
};

// A normalization gamma * (x - mean) / sqrt(variance + epsilon) + beta, and everything that reads
// its output. The tensors are the model's own: writing into them changes the model. A model whose
// consumers share a tensor with something else (tied weights) gives them a copy beforehand.
struct NormGroup {
  std::string name;  // of the output site
  at::Tensor gamma;  // [features]
  at::Tensor beta;   // [features]
  double* epsilon = nullptr;
  SiteId gamma_site = kNoSite;
  SiteId output_site = kNoSite;
  std::vector<Consumer> consumers;
  std::vector<Shortcut*> shortcuts;
  // Outlier Suppression leaves this one as it is: the last norm of an encoder.
  bool left_alone = false;
  // Its gamma was moved elsewhere: it has none any more to be trained.
  bool without_gamma = false;
};

struct Graph {
  std::vector<NormGroup> norms;  // in the order of execution
};

}  // namespace quell

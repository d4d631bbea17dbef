// A linear with what is computed from its outputs, and the site of the result.
#pragma once

#include <optional>

#include "framework/model/pass.h"
#include "models/blocks/layers.h"

namespace quell {

struct Projection {
  Linear linear;
  double factor = 1;  // of the outputs
  std::optional<Nonlinearity> nonlinearity = {};
  SiteId site = kNoSite;

  // Also of the linear, for those who look at operations.
  void set_nonlinearity(Nonlinearity chosen) {
    nonlinearity = chosen;
    linear.nonlinearity = [chosen](at::Tensor rows) { return apply(chosen, std::move(rows)); };
  }

  // In front of the site.
  Rows outputs(const Pass& pass, const Rows& rows) const {
    const bool joins = nonlinearity && factor == 1 && pass.joins({});
    const auto joined = joins ? joined_activation(*nonlinearity) : kernels::Activation::kNone;
    Rows result = pass.linear(linear, rows, joined);
    if (factor != 1) result.values.mul_(factor);
    if (nonlinearity && joined == kernels::Activation::kNone)
      result.values = apply(*nonlinearity, std::move(result.values));
    return result;
  }
  Rows forward(const Pass& pass, const Rows& rows) const {
    return pass.activation(site, outputs(pass, rows));
  }
};

}  // namespace quell

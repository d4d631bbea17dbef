// A linear with what is computed from its outputs, and the site of the result.
#pragma once

#include <optional>

#include "framework/model/activation_function.h"
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
    linear.nonlinearity = ActivationFunction{joined_activation(chosen), [chosen](at::Tensor rows) {
                                               return apply(chosen, std::move(rows));
                                             }};
  }

  // In front of the site.
  Rows outputs(const Pass& pass, const Rows& rows) const {
    return outputs(pass, rows, kNoSite, /*codes_suffice=*/false);
  }
  // `codes_suffice`: see Pass::linear.
  Rows forward(const Pass& pass, const Rows& rows, bool codes_suffice = false) const {
    const bool last = factor == 1 && (!nonlinearity || joined(pass) != kernels::Activation::kNone);
    return last ? outputs(pass, rows, site, codes_suffice)
                : pass.activation(site, outputs(pass, rows));
  }

  GraphWriter::Value write(GraphWriter& writer, const GraphWriter::Value& rows) const {
    GraphWriter::Value result = writer.linear(linear, rows);
    if (factor != 1) {
      result = writer.operation("Mul", {result, writer.constant(static_cast<float>(factor))});
    }
    if (nonlinearity) result = quell::write(*nonlinearity, writer, result);
    return writer.activation(site, result);
  }

 private:
  // The nonlinearity, where it is computed with the product.
  kernels::Activation joined(const Pass& pass) const {
    const bool joins = nonlinearity && factor == 1 && pass.joins({});
    return joins ? joined_activation(*nonlinearity) : kernels::Activation::kNone;
  }
  // With a site where nothing follows the product.
  Rows outputs(const Pass& pass, const Rows& rows, SiteId behind, bool codes_suffice) const {
    const kernels::Activation along = joined(pass);
    Rows result = pass.linear(linear, rows, along, behind, codes_suffice);
    if (factor != 1) result.values.mul_(factor);
    if (nonlinearity && along == kernels::Activation::kNone)
      result.values = apply(*nonlinearity, std::move(result.values));
    return result;
  }
};

}  // namespace quell

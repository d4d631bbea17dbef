// Values of a layer's rows that are kept from being large: an intervention, which no checkpoint has
// but those that quell exports.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/where.h>
#include <string>

#include "models/blocks/model_builder.h"

namespace quell {

struct HeldValues {
  // [features]: a value x with |x| >= limit of its feature becomes `value`. Undefined: none does.
  at::Tensor limit, value;

  void declare(ModelBuilder& builder, const std::string& name, int64_t features) {
    builder.tensor(limit, {name + ".held.limit", {features}, /*optional=*/true});
    builder.tensor(value, {name + ".held.value", {features}, /*optional=*/true});
  }

  Rows apply(Rows rows) const {
    if (!limit.defined()) return rows;
    return {at::where(at::abs(rows.values).ge(limit), value, rows.values)};
  }
  GraphWriter::Value write(GraphWriter& writer, const GraphWriter::Value& rows) const {
    if (!limit.defined()) return rows;
    const GraphWriter::Value is_large =
        writer.operation("GreaterOrEqual", {writer.operation("Abs", {rows}), writer.tensor(limit)});
    return writer.operation("Where", {is_large, writer.tensor(value), rows});
  }
};

}  // namespace quell

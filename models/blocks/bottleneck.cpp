#include "models/blocks/bottleneck.h"

namespace quell {
namespace {

void declare(ModelBuilder& builder, const BottleneckShape& shape, const std::string& name,
             const std::string& module, const std::string& norm_module, Projection& projection,
             Norm& norm) {
  builder.linear(projection.linear, name, "bottleneck", module, shape.narrow, shape.wide);
  projection.site = builder.activation(name, "bottleneck");
  norm.kind = shape.residual.norm;
  norm.epsilon = shape.residual.epsilon;
  builder.norm(norm, name + ".norm", norm_module, shape.narrow);
}

}  // namespace

void Bottleneck::declare_front(ModelBuilder& builder, const BottleneckShape& shape,
                               const BottleneckNames& names) {
  reads = shape.attention;
  declare(builder, shape, "bottleneck.input", names.input, names.input_norm, input, input_norm);
  if (reads == BottleneckAttention::kOwnRows) {
    declare(builder, shape, "bottleneck.attention", names.attention, names.attention_norm,
            attention, attention_norm);
  } else if (shape.stores_unread_linear) {
    builder.unread(unread_, names.attention, {shape.narrow, shape.wide});
    builder.unread(unread_norm_, names.attention_norm, {shape.narrow});
  }
  residual.declare_front(builder, shape.residual, "bottleneck", names.output_norm, shape.wide);
}

void Bottleneck::declare_back(ModelBuilder& builder, const BottleneckShape& shape,
                              const BottleneckNames& names) {
  builder.linear(output.linear, "bottleneck.output", "bottleneck", names.output, shape.wide,
                 shape.narrow);
  output.site = builder.activation("bottleneck.output", "bottleneck");
  residual.declare_back(builder, shape.residual, "bottleneck", names.output_norm,
                        names.output_shortcut, shape.wide);
}

Rows Bottleneck::narrow_rows(const Pass& pass, const Rows& wide) const {
  return pass.norm(input_norm, input.forward(pass, wide));
}

Rows Bottleneck::query_rows(const Pass& pass, const Rows& wide, const Rows& narrow) const {
  switch (reads) {
    case BottleneckAttention::kNarrowRows:
      return narrow;
    case BottleneckAttention::kOwnRows:
      return pass.norm(attention_norm, attention.forward(pass, wide));
    case BottleneckAttention::kWideRows:
      break;
  }
  return wide;
}

const Rows& Bottleneck::value_rows(const Rows& wide, const Rows& narrow) const {
  return reads == BottleneckAttention::kNarrowRows ? narrow : wide;
}

}  // namespace quell

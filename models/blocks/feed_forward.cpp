#include "models/blocks/feed_forward.h"

#include <ATen/ops/mul.h>

namespace quell {

FeedForward::FeedForward(ModelBuilder& builder, const std::string& name,
                         const FeedForwardModules& modules, const FeedForwardOptions& options) {
  const int64_t hidden = options.hidden, width = options.width;
  if (options.gated) {
    builder.linear(gate.linear, name + ".gate", "gate", modules.gate, width, hidden,
                   options.has_bias);
    gate.set_nonlinearity(options.nonlinearity);
    gate.site = builder.activation(name + ".gate", "gate");
    builder.linear(up.linear, name + ".up", "up", modules.up, width, hidden, options.has_bias);
    up.site = builder.activation(name + ".up", "up");
    product_site_ = builder.activation(name + ".product", "product");
  } else {
    builder.linear(up.linear, name + ".intermediate", "intermediate", modules.up, width, hidden,
                   options.has_bias);
    up.set_nonlinearity(options.nonlinearity);
    up.site = builder.activation(name + ".gelu", "gelu");
  }
  builder.linear(down.linear, name + ".output", "ffn_output", modules.down, hidden, width,
                 options.has_bias);
  down.site = builder.activation(name + ".output", "ffn_output");
}

Rows FeedForward::forward(const Pass& pass, const Rows& rows) const {
  return down.forward(pass, pass.dropout(DropoutPlace::kActivation, hidden(pass, rows)));
}

Rows FeedForward::hidden(const Pass& pass, const Rows& rows) const {
  if (!gated()) return up.forward(pass, rows, /*codes_suffice=*/true);
  Rows result = up.forward(pass, rows);
  const Rows open = gate.forward(pass, rows);
  return pass.activation(product_site_, {at::mul(open.values, result.values)});
}

GraphWriter::Value FeedForward::write(GraphWriter& writer, const GraphWriter::Value& rows) const {
  GraphWriter::Value inside = up.write(writer, rows);
  if (gated()) {
    inside = writer.activation(product_site_,
                               writer.operation("Mul", {gate.write(writer, rows), inside}));
  }
  return down.write(writer, inside);
}

bool FeedForward::passes_factors() const {
  return gated() || up.nonlinearity == Nonlinearity::kRelu;
}

}  // namespace quell

// A feed-forward block: two linears with a non-linearity between them, or with a gate (Shazeer
// 2020).
#pragma once

#include <string>

#include "models/blocks/model_builder.h"
#include "models/blocks/projection.h"

namespace quell {

struct FeedForwardOptions {
  int64_t hidden = 0, width = 0;
  Nonlinearity nonlinearity = Nonlinearity::kGelu;
  bool gated = false;  // nonlinearity(gate) * up
  bool has_bias = true;
};

// Hugging Face modules of one layer; a gate only where there is one.
struct FeedForwardModules {
  StoredLinear up, down, gate = {};
};

class FeedForward {
 public:
  // `name` is "ffn".
  FeedForward(ModelBuilder& builder, const std::string& name, const FeedForwardModules& modules,
              const FeedForwardOptions& options);

  Rows forward(const Pass& pass, const Rows& rows) const;
  // What the second linear reads, without dropout.
  Rows hidden(const Pass& pass, const Rows& rows) const;

  GraphWriter::Value write(GraphWriter& writer, const GraphWriter::Value& rows) const;

  bool gated() const { return gate.linear.weight_site != kNoSite; }
  // What the second linear reads.
  SiteId hidden_site() const { return gated() ? product_site_ : up.site; }
  // Whether a factor of an up-projection's outputs, if it is positive, is one of the hidden rows.
  bool passes_factors() const;

  Projection gate, up, down;

 private:
  SiteId product_site_ = kNoSite;
};

}  // namespace quell

// What stands around a layer that is narrower than the rows between layers: linears that lead in
// and out (MobileBERT, Sun et al. 2020, section 3.2).
#pragma once

#include <string>

#include "models/blocks/model_builder.h"
#include "models/blocks/projection.h"
#include "models/blocks/residual.h"

namespace quell {

// What the attention inside reads.
enum class BottleneckAttention {
  kNarrowRows,  // the narrow rows, as the rest of the layer does
  kOwnRows,     // for queries and keys narrow rows of another linear; for values the wide ones
  kWideRows,    // the wide rows, which then are as wide as the narrow ones
};

struct BottleneckShape {
  int64_t wide = 0, narrow = 0;
  BottleneckAttention attention = BottleneckAttention::kOwnRows;
  bool stores_unread_linear = false;  // that of kOwnRows is stored although nothing reads it
  ResidualShape residual;             // around the whole layer; its norm is the kind of all three
};

// Hugging Face modules, with {} for the number of the layer: a linear and its norm each.
struct BottleneckNames {
  std::string input, input_norm, attention, attention_norm, output, output_norm, output_shortcut;
};

struct Bottleneck {
  // To be declared in front of the layer's blocks, and behind them. Sites are called
  // "bottleneck.input", "bottleneck.input.norm" and so on.
  void declare_front(ModelBuilder& builder, const BottleneckShape& shape,
                     const BottleneckNames& names);
  void declare_back(ModelBuilder& builder, const BottleneckShape& shape,
                    const BottleneckNames& names);

  // Of the wide rows: the narrow ones that the layer's residual stream begins with.
  Rows narrow_rows(const Pass& pass, const Rows& wide) const;
  // What queries and keys are made of, and values.
  Rows query_rows(const Pass& pass, const Rows& wide, const Rows& narrow) const;
  const Rows& value_rows(const Rows& wide, const Rows& narrow) const;

  BottleneckAttention reads = BottleneckAttention::kOwnRows;
  Projection input, attention, output;
  Norm input_norm, attention_norm;
  Residual residual;  // of the wide rows and the output

 private:
  Linear unread_, unread_norm_;
};

}  // namespace quell

// A pass: what a model is run with. Models perform their operations through it, so that what is
// quantized, observed, looked at, or dropped out is said once, by whoever runs, and nothing of it
// is left in the model.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <initializer_list>
#include <optional>
#include <vector>

#include "framework/model/attention.h"
#include "framework/model/engine.h"
#include "framework/model/operands.h"
#include "framework/quant/dropout.h"
#include "framework/quant/real_rows.h"
#include "framework/quant/site_points.h"

namespace quell {

// Sees the rows [n, features] of an activation site before and after quantization.
using Tap = std::function<void(SiteId, const at::Tensor& before, const at::Tensor& after)>;
// Sees what enters an operation with a weight: rows, or the ids [n] that are looked up in a table.
using InputTap = std::function<void(const Operand&, const Rows& input)>;

// How a tap sees attention matrices: as rows of equal widths, or the compact blocks of one sequence
// after another, [elements, 1], which saves copies; see AttentionLayout.
enum class TapMatrices { kRows, kCompact };

struct PassOptions {
  SiteSet quantize = {};  // must have parameters, or be observed, too
  SiteSet observe = {};   // activations; those of dynamic scales are not
  Tap tap = {};           // empty: nobody looks
  TapMatrices tap_matrices = TapMatrices::kRows;
  InputTap inputs = {};
  Dropout* dropout = nullptr;                  // null: nothing is dropped
  const Engine* engine = nullptr;              // of operations; null: LibTorch
  std::optional<RealRows> observed_rows = {};  // what observers see of one batch; absent: all
};

// Several threads may use one pass at once, but for one that observes or drops out. The points must
// live as long as the pass, and their parameters stay as they are.
class Pass {
 public:
  // Without options everything is computed in float.
  explicit Pass(const SitePoints& points, PassOptions options = {});

  const SitePoints& points() const { return points_; }

  // Observes and quantizes at an activation site; kNoSite: gives the rows back. Overwrites them
  // where that is possible, so the caller must not need them afterwards.
  Rows activation(SiteId id, Rows rows) const;
  // Whether an engine may compute several operations in one: nothing happens at the sites between
  // them, and nothing is dropped.
  bool joins(std::initializer_list<SiteId> between) const;
  // rows * weight^T + bias, with the site behind it. An activation only where operations are
  // joined. `codes_suffice`: its readers hand the rows to linears and attention of this pass, and
  // look at no values.
  Rows linear(const Linear& linear, const Rows& rows,
              kernels::Activation activation = kernels::Activation::kNone, SiteId site = kNoSite,
              bool codes_suffice = false) const;
  // The rows of a table with these ids [n].
  Rows embedding(const EmbeddingTable& table, const at::Tensor& ids) const;
  // With the site behind it.
  Rows norm(const Norm& norm, const Rows& rows) const;
  // Of the sum of both. Only where operations are joined, and so is the next one.
  Rows norm_of_sum(const Norm& norm, const Rows& rows, const Rows& added) const;
  // Whether an engine computes all of attention in one with these sites of its matrices.
  bool attends_at_once(SiteId scores, SiteId probs) const;
  // All of attention, with the site of the context behind it, which nothing but a linear of this
  // pass reads. Only where that is so.
  Rows attention(const AttentionSpans& spans, const AttentionShape& shape, const Rows& query,
                 const Rows& key, const Rows& value, SiteId scores, SiteId probs,
                 SiteId context) const;
  // Query times key, and probabilities times value: attention's two products.
  Rows scores(const AttentionLayout& layout, const Rows& query, const Rows& key) const;
  Rows context(const AttentionLayout& layout, const Rows& probs, const Rows& value) const;
  // Gives the rows back unless something is dropped.
  Rows dropout(DropoutPlace place, Rows rows) const;

  // Whether the site must be given all of its rows: something looks at them, or their scales depend
  // on the row. Otherwise quantization is elementwise, and rows that nothing reads may be left out.
  bool needs_rows(SiteId id) const;
  // Whether a matrix of attention must come as rows of equal widths.
  bool needs_equal_widths(SiteId id) const;

 private:
  struct Action {
    SitePoint* point = nullptr;
    bool observe = false;
    bool quantize = false;
  };

  // Whether something sees rows beside the operations that read them.
  bool looked_at() const;
  at::Tensor weight(SiteId id, const at::Tensor& weight) const;
  const Engine& engine() const;
  // Null where nothing is quantized.
  const SitePoint* quantizing(SiteId id) const;

  const SitePoints& points_;
  PassOptions options_;
  std::vector<Action> actions_;  // by SiteId
};

}  // namespace quell

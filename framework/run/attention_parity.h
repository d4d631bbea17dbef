// Attention by two engines from the very same queries, keys and values: whose codes differ.
#pragma once

#include <map>

#include "framework/model/engine.h"
#include "framework/run/parity.h"

namespace quell {

// Computes as `other` does, and counts, of each attention with probabilities on a grid of one
// scale: codes of the probabilities that differ from those of the reference, and codes of the
// context that differ from those that the reference makes of the other's probabilities. One thread
// at a time.
class ComparedAttention final : public Engine {
 public:
  // All must live as long as it does.
  ComparedAttention(const SitePoints& points, const Engine& reference, const Engine& other,
                    std::map<SiteId, SiteParity>& found)
      : points_(points), reference_(reference), other_(other), found_(found) {}

  bool joins() const override { return other_.joins(); }
  Rows linear(const Product& product) const override { return other_.linear(product); }
  Rows quantize(const SitePoint& point, const at::Tensor& rows, bool in_place) const override {
    return other_.quantize(point, rows, in_place);
  }
  Rows attention(const AttentionSpans& spans, const AttentionShape& shape, const Rows& query,
                 const Rows& key, const Rows& value, const AttentionGrids& grids) const override;
  bool attends_on(const AttentionGrids& grids) const override { return other_.attends_on(grids); }
  at::Tensor norm(const Norm& norm, const at::Tensor& gamma, const at::Tensor& rows,
                  const at::Tensor& added) const override {
    return other_.norm(norm, gamma, rows, added);
  }

 private:
  SiteParity& parity_of(const SitePoint* point) const;

  const SitePoints& points_;
  const Engine &reference_, &other_;
  std::map<SiteId, SiteParity>& found_;
};

// How many of the values marked by `different` lie in float64, where they are `exact`, as close to
// where codes of steps of `scale` change as float32 may be off.
int64_t count_explained(const at::Tensor& different, const at::Tensor& exact,
                        const at::Tensor& possible_error, double scale);

}  // namespace quell

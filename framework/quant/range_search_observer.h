// Observers that search each batch for the range with the smallest error.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "framework/kernels/range_search.h"
#include "framework/quant/batch_range_observer.h"

namespace quell {

// Finds the range of the values of one scale.
using RangeSearch = std::function<kernels::MinMax(
    std::vector<float> values, const kernels::AffineRule& rule, kernels::Side side)>;

// The side on which all of `rows` lie, whatever the granularity. NaN lies on both.
kernels::Side side_of(const at::Tensor& rows);

// The range of every scale that `search` finds on `rows`; the extremes where those are not finite.
Range search_ranges(const at::Tensor& rows, const QuantSpec& spec, kernels::Side side,
                    const RangeSearch& search);

// `Combination` (WidestOfBatches, MeanOfBatches, EmaOfBatches) puts the ranges of batches together.
// As published, the first batch decides for all of them whether there is a side.
template <class Combination>
class RangeSearchObserver : public Combination {
 public:
  template <class... More>
  RangeSearchObserver(const QuantSpec& spec, RangeSearch search, More&&... more)
      : Combination(spec, std::forward<More>(more)...), search_(std::move(search)) {}

  void reset() final {
    Combination::reset();
    side_.reset();
  }
  // The range of a batch depends on the bits.
  std::vector<at::Tensor> state() const final { return {}; }

 private:
  Range batch_range(const at::Tensor& rows) final {
    if (!side_) side_ = side_of(rows);
    return search_ranges(rows, this->spec(), *side_, search_);
  }

  RangeSearch search_;
  std::optional<kernels::Side> side_;
};

// The parameters of the observers that try a grid of candidates.
struct GridSearchParams {
  int64_t candidates = 100;
  template <class V>
  static void describe(V& v) {
    v("candidates", &GridSearchParams::candidates,
      "equal steps of the bound or the width that are tried", in_range(1, 100000));
  }
  RangeSearch search() const {
    return [count = static_cast<int>(candidates)](
               std::vector<float> values, const kernels::AffineRule& rule, kernels::Side side) {
      return kernels::search_grid(std::move(values), rule, side, count);
    };
  }
};

}  // namespace quell

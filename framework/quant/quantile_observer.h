// Observers that cut the extremes of each batch to a share of all |x|.
#pragma once

#include <utility>

#include "framework/config/schema.h"
#include "framework/quant/batch_range_observer.h"

namespace quell {

// The extremes of `rows`, but no further from zero than the middle of the first of `bins` bins,
// from 0 to the largest |x|, up to which the share `quantile` of |x| lies.
Range quantile_range(const at::Tensor& rows, const QuantSpec& spec, double quantile, int64_t bins);

// `Combination` (MeanOfBatches, EmaOfBatches) puts the ranges of batches together.
template <class Combination>
class QuantileObserver : public Combination {
 public:
  template <class... More>
  QuantileObserver(const QuantSpec& spec, double quantile, int64_t bins, More&&... more)
      : Combination(spec, std::forward<More>(more)...), quantile_(quantile), bins_(bins) {}

 private:
  Range batch_range(const at::Tensor& rows) final {
    return quantile_range(rows, this->spec(), quantile_, bins_);
  }

  double quantile_;
  int64_t bins_;
};

}  // namespace quell

// The state that min-max observers share: a range that each batch updates.
#pragma once

#include "framework/base/error.h"
#include "framework/quant/observer.h"

namespace quell {

// An observer whose range follows from the extremes of each batch alone. A subclass says how the
// batch changes what was known.
class BatchRangeObserver : public Observer {
 public:
  explicit BatchRangeObserver(const QuantSpec& spec) : spec_(spec) {}

  void observe(const at::Tensor& rows) final;
  Range range() const final;
  void reset() final { batches_ = 0; }

 protected:
  // `known` and `batch` are one bound (min or max) of one scale; `batches` (> 0) were seen before.
  virtual float update_min(float known, float batch, int64_t batches) const = 0;
  virtual float update_max(float known, float batch, int64_t batches) const = 0;

 private:
  QuantSpec spec_;
  Range range_;
  int64_t batches_ = 0;
};

}  // namespace quell

#include "framework/quant/batch_range_observer.h"

namespace quell {

void BatchRangeObserver::observe(const at::Tensor& rows) {
  if (rows.numel() == 0) throw Error("an observer was given an empty tensor");
  const Range batch = batch_range(rows);
  if (batches_ == 0) {
    range_ = batch;
  } else {
    QUELL_ASSERT(batch.min.numel() == range_.min.numel(), "the number of channels changed");
    float* min = range_.min.mutable_data_ptr<float>();
    float* max = range_.max.mutable_data_ptr<float>();
    const float* batch_min = batch.min.const_data_ptr<float>();
    const float* batch_max = batch.max.const_data_ptr<float>();
    for (int64_t i = 0; i < batch.min.numel(); ++i) {
      min[i] = update_min(min[i], batch_min[i], batches_);
      max[i] = update_max(max[i], batch_max[i], batches_);
    }
  }
  ++batches_;
}

Range BatchRangeObserver::batch_range(const at::Tensor& rows) { return min_max(rows, spec_); }

Range BatchRangeObserver::range() const {
  if (batches_ == 0) throw Error("an observer was asked for a range before it saw a batch");
  return {range_.min.clone(), range_.max.clone()};
}

}  // namespace quell

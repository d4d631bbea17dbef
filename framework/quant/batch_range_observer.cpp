#include "framework/quant/batch_range_observer.h"

#include <ATen/ops/full.h>

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

std::vector<at::Tensor> BatchRangeObserver::state() const {
  return {range_.min, range_.max, at::full({1}, batches_, at::kLong)};
}

void BatchRangeObserver::set_state(const std::vector<at::Tensor>& state) {
  QUELL_ASSERT(state.size() == 3, "bounds and the number of batches");
  range_ = {state[0].clone(), state[1].clone()};
  batches_ = *state[2].const_data_ptr<int64_t>();
}

}  // namespace quell

#include "framework/quant/shifted_search_observer.h"

#include <ATen/ops/empty.h>
#include <algorithm>
#include <cmath>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

kernels::MinMax extremes_of(const at::Tensor& rows) {
  const Range whole = min_max(rows, QuantSpec{});  // one scale for all
  return {whole.min.item<float>(), whole.max.item<float>()};
}

}  // namespace

void ShiftedSearchObserver::start(kernels::MinMax extremes, size_t scales) {
  space_ = {kernels::affine_rule(spec_.grid, static_cast<int>(spec_.bits), spec_.symmetric,
                                 /*signed_range=*/extremes.min < 0),
            extremes, static_cast<int>(params_.shifts)};
  best_.assign(scales, extremes);  // which is reported where it is not finite
  candidates_.clear();
  losses_.clear();
  if (params_.search == RangeSearchMethod::kBrent) return;
  candidates_ = space_->candidates(static_cast<int>(params_.candidates));
  losses_.assign(scales, std::vector<double>(candidates_.size()));
}

void ShiftedSearchObserver::observe(const at::Tensor& rows) {
  if (rows.numel() == 0) throw Error("an observer was given an empty tensor");
  const kernels::MinMax extremes = extremes_of(rows);
  const ScaleMap map = ScaleMap::make(spec_, rows.sizes());
  if (!space_) start(extremes, static_cast<size_t>(map.scales()));
  if (!std::isfinite(extremes.max - extremes.min)) {
    std::fill(best_.begin(), best_.end(), extremes);
    space_->extremes = extremes;
  }
  if (!std::isfinite(space_->extremes.max - space_->extremes.min)) return;
  map.for_each_scale(rows, [&](int64_t scale, std::vector<float> values) {
    const auto index = static_cast<size_t>(scale);
    const size_t row = map.scales() == 1 && rows.dim() == 2 ? rows.size(1) : values.size();
    const kernels::RangeLoss loss = loss_of(std::move(values), row, space_->rule);
    if (params_.search == RangeSearchMethod::kBrent) {
      best_[index] = space_->search_brent(loss);
      return;
    }
    std::vector<double>& losses = losses_[index];
    for (size_t i = 0; i < candidates_.size(); ++i) losses[i] += loss(candidates_[i]);
    best_[index] = candidates_[static_cast<size_t>(std::min_element(losses.begin(), losses.end()) -
                                                   losses.begin())];
  });
}

Range ShiftedSearchObserver::range() const {
  if (!space_) throw Error("an observer was asked for a range before it saw a batch");
  const auto scales = static_cast<int64_t>(best_.size());
  Range range{at::empty({scales}, at::kFloat), at::empty({scales}, at::kFloat)};
  for (int64_t i = 0; i < scales; ++i) {
    range.min.mutable_data_ptr<float>()[i] = best_[static_cast<size_t>(i)].min;
    range.max.mutable_data_ptr<float>()[i] = best_[static_cast<size_t>(i)].max;
  }
  return range;
}

}  // namespace quell

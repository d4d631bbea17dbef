#include "framework/quant/quantile_observer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "framework/quant/device.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

// The middle of the first bin at which the share is reached. Counts are exact at any size.
float clip(const float* values, int64_t size, float reach, double quantile, int64_t bins) {
  std::vector<int64_t> counts(static_cast<size_t>(bins));
  const float low = 0;
  kernels::add_to_histogram(host_device(), values, size, &low, &reach, bins,
                            /*magnitudes=*/true, counts.data());
  const auto needed = static_cast<float>(quantile * static_cast<double>(size));
  int64_t reached = 0;
  for (size_t bin = 0; bin < counts.size(); ++bin) {
    reached += counts[bin];
    if (static_cast<float>(reached) >= needed) {
      return (static_cast<float>(bin) + 0.5f) * (reach / static_cast<float>(bins));
    }
  }
  return reach;
}

}  // namespace

Range quantile_range(const at::Tensor& rows, const QuantSpec& spec, double quantile, int64_t bins) {
  Range range = min_max(rows, spec);
  float* min = range.min.mutable_data_ptr<float>();
  float* max = range.max.mutable_data_ptr<float>();
  const auto cut = [&](const float* values, int64_t size, int64_t scale) {
    const float reach = std::max(-min[scale], max[scale]);
    if (reach == 0 || !std::isfinite(max[scale] - min[scale])) return;
    const float bound = clip(values, size, reach, quantile, bins);
    min[scale] = std::max(min[scale], -bound);
    max[scale] = std::min(max[scale], bound);
  };
  if (range.min.numel() == 1) {  // without a copy, on all threads
    const at::Tensor values = on_host(rows, "searches of ranges").contiguous();
    cut(values.const_data_ptr<float>(), values.numel(), 0);
    return range;
  }
  const ScaleMap map = ScaleMap::make(spec, rows.sizes());
  map.for_each_scale(rows, [&](int64_t scale, const std::vector<float>& values) {
    cut(values.data(), static_cast<int64_t>(values.size()), scale);
  });
  return range;
}

}  // namespace quell

// Quantile: the extremes of a batch, but no further from zero than a share of all |x|, as a
// histogram shows it; averaged over batches.

#include <algorithm>
#include <cmath>

#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"
#include "framework/quant/device.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

struct Params {
  double quantile = 0.99999;
  int64_t bins = 2048;
  template <class V>
  static void describe(V& v) {
    v("quantile", &Params::quantile, "share of |x| to keep", in_range(0.0, 1.0));
    v("bins", &Params::bins, "bins of the histogram of |x|, from 0 to its largest",
      in_range(1, 1 << 24));
  }
};

class Quantile final : public MeanOfBatches {
 public:
  Quantile(const Params& params, const QuantSpec& spec) : MeanOfBatches(spec), params_(params) {}

 private:
  // The middle of the first bin at which the share is reached. Counts are exact at any size.
  float clip(const float* values, int64_t size, float reach) const {
    std::vector<int64_t> counts(static_cast<size_t>(params_.bins));
    const float low = 0;
    kernels::add_to_histogram(host_device(), values, size, &low, &reach, params_.bins,
                              /*magnitudes=*/true, counts.data());
    const auto needed = static_cast<float>(params_.quantile * static_cast<double>(size));
    int64_t reached = 0;
    for (size_t bin = 0; bin < counts.size(); ++bin) {
      reached += counts[bin];
      if (static_cast<float>(reached) >= needed) {
        return (static_cast<float>(bin) + 0.5f) * (reach / static_cast<float>(params_.bins));
      }
    }
    return reach;
  }

  void cut(const float* values, int64_t size, float& min, float& max) const {
    const float reach = std::max(-min, max);
    if (reach == 0 || !std::isfinite(max - min)) return;
    const float bound = clip(values, size, reach);
    min = std::max(min, -bound);
    max = std::min(max, bound);
  }

  Range batch_range(const at::Tensor& rows) override {
    Range range = min_max(rows, spec());
    float* min = range.min.mutable_data_ptr<float>();
    float* max = range.max.mutable_data_ptr<float>();
    if (range.min.numel() == 1) {  // without a copy, on all threads
      const at::Tensor values = rows.contiguous();
      cut(values.const_data_ptr<float>(), values.numel(), *min, *max);
      return range;
    }
    const ScaleMap map = ScaleMap::make(spec(), rows.sizes());
    map.for_each_scale(rows, [&](int64_t scale, const std::vector<float>& values) {
      cut(values.data(), static_cast<int64_t>(values.size()), min[scale], max[scale]);
    });
    return range;
  }

  Params params_;
};

}  // namespace

void register_observer_quantile(Plugins& plugins) {
  add_plugin<Quantile, Params>(plugins.observers, "quantile",
                               "Extremes, cut to a share of |x| by a histogram; mean over batches.",
                               "OS AvgQuantileObserver")
      .breaks("constant_input",
              "as published, the bound is the middle of a bin, below a constant's smallest value");
}

}  // namespace quell

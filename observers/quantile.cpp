// Quantile: the extremes of a batch, but no further from zero than a share of all |x|, as a
// histogram shows it; averaged over batches.

#include <algorithm>
#include <cmath>

#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"
#include "framework/quant/channel_values.h"

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
  // The middle of the first bin at which the share is reached. float32 in the order of torch.histc;
  // counts are exact at any size.
  float clip(const std::vector<float>& values, float reach) const {
    const float bins = static_cast<float>(params_.bins);
    std::vector<int64_t> counts(static_cast<size_t>(params_.bins), 0);
    for (const float x : values) {
      const float place = std::abs(x) * bins / reach;
      ++counts[static_cast<size_t>(std::min(place, bins - 1))];
    }
    const auto needed = static_cast<float>(params_.quantile * static_cast<double>(values.size()));
    int64_t reached = 0;
    for (size_t bin = 0; bin < counts.size(); ++bin) {
      reached += counts[bin];
      if (static_cast<float>(reached) >= needed) {
        return (static_cast<float>(bin) + 0.5f) * (reach / bins);
      }
    }
    return reach;
  }

  Range batch_range(const at::Tensor& rows) override {
    Range range = min_max(rows, spec());
    float* min = range.min.mutable_data_ptr<float>();
    float* max = range.max.mutable_data_ptr<float>();
    for_each_channel(rows, spec(), [&](int64_t channel, const std::vector<float>& values) {
      const float reach = std::max(-min[channel], max[channel]);
      if (reach == 0 || !std::isfinite(max[channel] - min[channel])) return;
      const float bound = clip(values, reach);
      min[channel] = std::max(min[channel], -bound);
      max[channel] = std::min(max[channel], bound);
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

// Quantile, as an exponential moving average over batches.

#include "framework/plugin/registry.h"
#include "framework/quant/quantile_observer.h"

namespace quell {
namespace {

struct Params {
  double quantile = 0.9999;
  int64_t bins = 2048;
  double momentum = 0.9;
  template <class V>
  static void describe(V& v) {
    v("quantile", &Params::quantile, "share of |x| to keep", in_range(0.0, 1.0));
    v("bins", &Params::bins, "bins of the histogram of |x|, from 0 to its largest",
      in_range(1, 1 << 24));
    v("momentum", &Params::momentum, "weight of what was known before a batch", in_range(0.0, 1.0));
  }
};

class EmaQuantile final : public QuantileObserver<EmaOfBatches> {
 public:
  EmaQuantile(const Params& params, const QuantSpec& spec)
      : QuantileObserver(spec, params.quantile, params.bins, params.momentum) {}
};

}  // namespace

void register_observer_ema_quantile(Plugins& plugins) {
  add_plugin<EmaQuantile, Params>(
      plugins.observers, "ema_quantile",
      "Extremes, cut to a share of |x| by a histogram; exponential moving average over batches.",
      "OS+ EMAQuantileObserver")
      .breaks("constant_input",
              "as published, the bound is the middle of a bin, below a constant's smallest value");
}

}  // namespace quell

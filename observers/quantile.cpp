// Quantile: the extremes of a batch, but no further from zero than a share of all |x|, as a
// histogram shows it; averaged over batches.

#include "framework/plugin/registry.h"
#include "framework/quant/quantile_observer.h"

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

class Quantile final : public QuantileObserver<MeanOfBatches> {
 public:
  Quantile(const Params& params, const QuantSpec& spec)
      : QuantileObserver(spec, params.quantile, params.bins) {}
};

}  // namespace

void register_observer_quantile(Plugins& plugins) {
  add_plugin<Quantile, Params>(plugins.observers, "quantile",
                               "Extremes, cut to a share of |x| by a histogram; mean over batches.",
                               "OS AvgQuantileObserver; OS+ the same with a quantile of 0.999")
      .breaks("constant_input",
              "as published, the bound is the middle of a bin, below a constant's smallest value");
}

}  // namespace quell

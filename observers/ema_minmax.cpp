// Exponential moving average of each batch's extremes.

#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"

namespace quell {
namespace {

struct Params {
  double momentum = 0.9;
  template <class V>
  static void describe(V& v) {
    v("momentum", &Params::momentum, "weight of what was known before a batch", in_range(0.0, 1.0));
  }
};

class EmaMinMax final : public EmaOfBatches {
 public:
  EmaMinMax(const Params& params, const QuantSpec& spec) : EmaOfBatches(spec, params.momentum) {}
};

}  // namespace

void register_observer_ema_minmax(Plugins& plugins) {
  add_plugin<EmaMinMax, Params>(plugins.observers, "ema_minmax",
                                "Exponential moving average of each batch's extremes.",
                                "Qualcomm running_minmax; OS+ EMAMinMaxObserver");
}

}  // namespace quell

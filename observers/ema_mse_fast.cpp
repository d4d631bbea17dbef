// Fast MSE, as an exponential moving average over batches.

#include "framework/plugin/registry.h"
#include "framework/quant/range_search_observer.h"

namespace quell {
namespace {

struct Params {
  double momentum = 0.9;
  template <class V>
  static void describe(V& v) {
    v("momentum", &Params::momentum, "weight of what was known before a batch", in_range(0.0, 1.0));
  }
};

class EmaMseFast final : public RangeSearchObserver<EmaOfBatches> {
 public:
  EmaMseFast(const Params& params, const QuantSpec& spec)
      : RangeSearchObserver(spec, kernels::search_brent, params.momentum) {}
};

}  // namespace

void register_observer_ema_mse_fast(Plugins& plugins) {
  add_plugin<EmaMseFast, Params>(
      plugins.observers, "ema_mse_fast",
      "Range of a small squared error by Brent's method; exponential moving average over batches.",
      "OS+ EMAMSEFastObserver")
      .breaks("scale_equivariant",
              "the published tolerance (1e-5) and smallest bound (0.1) do not follow the values")
      .breaks("constant_input",
              "as published, the search stops 1e-5 short of the bound that the constant needs");
}

}  // namespace quell

// Averaged fast MSE: the mean over batches of a range of small squared error, found by Brent's
// method.

#include "framework/plugin/registry.h"
#include "framework/quant/range_search_observer.h"

namespace quell {
namespace {

class AvgMseFast final : public RangeSearchObserver<MeanOfBatches> {
 public:
  AvgMseFast(const NoParams&, const QuantSpec& spec)
      : RangeSearchObserver(spec, kernels::search_brent) {}
};

}  // namespace

void register_observer_avg_mse_fast(Plugins& plugins) {
  add_plugin<AvgMseFast, NoParams>(
      plugins.observers, "avg_mse_fast",
      "Range of a small squared error by Brent's method; mean over batches.",
      "OS AvgMSEFastObserver")
      .breaks("scale_equivariant",
              "the published tolerance (1e-5) and smallest bound (0.1) do not follow the values")
      .breaks("constant_input",
              "as published, the search stops 1e-5 short of the bound that the constant needs");
}

}  // namespace quell

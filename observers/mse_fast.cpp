// Fast MSE: of each batch a range of small squared error, found by Brent's method; of several
// batches the widest bounds.

#include "framework/plugin/registry.h"
#include "framework/quant/range_search_observer.h"

namespace quell {
namespace {

class MseFast final : public RangeSearchObserver<WidestOfBatches> {
 public:
  MseFast(const NoParams&, const QuantSpec& spec)
      : RangeSearchObserver(spec, kernels::search_brent) {}
};

}  // namespace

void register_observer_mse_fast(Plugins& plugins) {
  add_plugin<MseFast, NoParams>(
      plugins.observers, "mse_fast",
      "Range of a small squared error by Brent's method; widest over batches.",
      "OS MSEFastObserver")
      .breaks("scale_equivariant",
              "the published tolerance (1e-5) and smallest bound (0.1) do not follow the values")
      .breaks("constant_input",
              "as published, the search stops 1e-5 short of the bound that the constant needs");
}

}  // namespace quell

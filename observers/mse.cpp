// MSE: of each batch the range with the smallest squared error among a grid of candidates; of
// several batches the widest bounds.

#include "framework/plugin/registry.h"
#include "framework/quant/range_search_observer.h"

namespace quell {
namespace {

class Mse final : public RangeSearchObserver<WidestOfBatches> {
 public:
  Mse(const GridSearchParams& params, const QuantSpec& spec)
      : RangeSearchObserver(spec, params.search()) {}
};

}  // namespace

void register_observer_mse(Plugins& plugins) {
  add_plugin<Mse, GridSearchParams>(
      plugins.observers, "mse",
      "Range of the smallest squared error out of a grid of candidates; widest over batches.",
      "OS MSEObserver");
}

}  // namespace quell

// Averaged MSE: the mean over batches of the range with the smallest squared error among a grid of
// candidates.

#include "framework/plugin/registry.h"
#include "framework/quant/range_search_observer.h"

namespace quell {
namespace {

class AvgMse final : public RangeSearchObserver<MeanOfBatches> {
 public:
  AvgMse(const GridSearchParams& params, const QuantSpec& spec)
      : RangeSearchObserver(spec, params.search()) {}
};

}  // namespace

void register_observer_avg_mse(Plugins& plugins) {
  add_plugin<AvgMse, GridSearchParams>(
      plugins.observers, "avg_mse",
      "Range of the smallest squared error out of a grid of candidates; mean over batches.",
      "OS AvgMSEObserver");
}

}  // namespace quell

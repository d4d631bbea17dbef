// Min-max: the extremes of everything that was observed.

#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"

namespace quell {
namespace {

class MinMax final : public WidestOfBatches {
 public:
  MinMax(const NoParams&, const QuantSpec& spec) : WidestOfBatches(spec) {}
};

}  // namespace

void register_observer_minmax(Plugins& plugins) {
  add_plugin<MinMax, NoParams>(
      plugins.observers, "minmax", "Smallest and largest value over all batches.",
      "OS MinMaxObserver; Qualcomm allminmax (after one batch: current_minmax)");
}

}  // namespace quell

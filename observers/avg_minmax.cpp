// Averaged min-max: the mean over batches of each batch's extremes, every batch with equal weight.

#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"

namespace quell {
namespace {

class AvgMinMax final : public MeanOfBatches {
 public:
  AvgMinMax(const NoParams&, const QuantSpec& spec) : MeanOfBatches(spec) {}
};

}  // namespace

void register_observer_avg_minmax(Plugins& plugins) {
  add_plugin<AvgMinMax, NoParams>(plugins.observers, "avg_minmax",
                                  "Mean over batches of each batch's smallest and largest value.",
                                  "OS AvgMinMaxObserver");
}

}  // namespace quell

// Averaged min-max: the mean over batches of each batch's extremes, every batch with equal weight.

#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"

namespace quell {
namespace {

class AvgMinMax final : public BatchRangeObserver {
 public:
  AvgMinMax(const NoParams&, const QuantSpec& spec) : BatchRangeObserver(spec) {}

 private:
  // Sequential float32, as published: the order of the batches shows in the last bit.
  static float average(float known, float batch, int64_t batches) {
    const float count = static_cast<float>(batches);
    return (known * count + batch) / (count + 1.0f);
  }
  float update_min(float known, float batch, int64_t batches) const override {
    return average(known, batch, batches);
  }
  float update_max(float known, float batch, int64_t batches) const override {
    return average(known, batch, batches);
  }
};

}  // namespace

void register_observer_avg_minmax(Plugins& plugins) {
  add_plugin<AvgMinMax, NoParams>(plugins.observers, "avg_minmax",
                                  "Mean over batches of each batch's smallest and largest value.",
                                  "OS AvgMinMaxObserver");
}

}  // namespace quell

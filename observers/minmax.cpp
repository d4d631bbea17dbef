// Min-max: the extremes of everything that was observed.

#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"

namespace quell {
namespace {

class MinMax final : public BatchRangeObserver {
 public:
  MinMax(const NoParams&, const QuantSpec& spec) : BatchRangeObserver(spec) {}

 private:
  // A NaN stays: it is reported when the range is used.
  float update_min(float known, float batch, int64_t) const override {
    return known != known ? known : (batch >= known ? known : batch);
  }
  float update_max(float known, float batch, int64_t) const override {
    return known != known ? known : (batch <= known ? known : batch);
  }
};

}  // namespace

void register_observer_minmax(Plugins& plugins) {
  add_plugin<MinMax, NoParams>(
      plugins.observers, "minmax", "Smallest and largest value over all batches.",
      "OS MinMaxObserver; Qualcomm allminmax (after one batch: current_minmax)");
}

}  // namespace quell

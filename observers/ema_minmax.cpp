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

class EmaMinMax final : public BatchRangeObserver {
 public:
  EmaMinMax(const Params& params, const QuantSpec& spec)
      : BatchRangeObserver(spec), momentum_(params.momentum) {}

 private:
  // The published code multiplies float32 tensors by doubles that are first rounded to float32.
  float average(float known, float batch) const {
    return static_cast<float>(1.0 - momentum_) * batch + static_cast<float>(momentum_) * known;
  }
  float update_min(float known, float batch, int64_t) const override {
    return average(known, batch);
  }
  float update_max(float known, float batch, int64_t) const override {
    return average(known, batch);
  }

  double momentum_;
};

}  // namespace

void register_observer_ema_minmax(Plugins& plugins) {
  add_plugin<EmaMinMax, Params>(plugins.observers, "ema_minmax",
                                "Exponential moving average of each batch's extremes.",
                                "Qualcomm running_minmax");
}

}  // namespace quell

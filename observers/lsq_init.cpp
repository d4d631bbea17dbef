// LSQ initialization: mean - 3 and + 3 standard deviations, of the last batch; made for weights.

#include <cmath>

#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

class LsqInit final : public BatchRangeObserver {
 public:
  LsqInit(const NoParams&, const QuantSpec& spec) : BatchRangeObserver(spec) {}

 private:
  // Sums in double precision. A single value deviates by nothing.
  Range batch_range(const at::Tensor& rows) override {
    Range range = min_max(rows, spec());
    float* min = range.min.mutable_data_ptr<float>();
    float* max = range.max.mutable_data_ptr<float>();
    const ScaleMap map = ScaleMap::make(spec(), rows.sizes());
    map.for_each_scale(rows, [&](int64_t scale, const std::vector<float>& values) {
      const auto count = static_cast<double>(values.size());
      double sum = 0, squares = 0;
      for (const float x : values) sum += x;
      const double mean = sum / count;
      for (const float x : values) squares += (x - mean) * (x - mean);
      const double deviation = values.size() > 1 ? std::sqrt(squares / (count - 1)) : 0;
      min[scale] = static_cast<float>(mean) - 3 * static_cast<float>(deviation);
      max[scale] = static_cast<float>(mean) + 3 * static_cast<float>(deviation);
    });
    return range;
  }
  float update_min(float, float batch, int64_t) const override { return batch; }
  float update_max(float, float batch, int64_t) const override { return batch; }
};

}  // namespace

void register_observer_lsq_init(Plugins& plugins) {
  add_plugin<LsqInit, NoParams>(
      plugins.observers, "lsq_init",
      "Three standard deviations around the mean of the last batch; for weights that are learned.",
      "OS LSQPlusObserver");
}

}  // namespace quell

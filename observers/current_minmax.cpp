// Current min-max: the extremes, or percentiles, of the last batch.

#include <algorithm>
#include <cmath>
#include <vector>

#include "framework/plugin/registry.h"
#include "framework/quant/batch_range_observer.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

// What is cut off where a percentile is asked for.
enum class CutSides { kBoth, kLow };

}  // namespace

template <>
struct EnumNames<CutSides> {
  static constexpr std::pair<const char*, CutSides> values[] = {{"both", CutSides::kBoth},
                                                                {"low", CutSides::kLow}};
};

namespace {

struct Params {
  double percentile = 0;
  CutSides sides = CutSides::kBoth;

  template <class V>
  static void describe(V& v) {
    v("percentile", &Params::percentile, "percent of the values that are cut off at a side",
      in_range(0.0, 50.0));
    v("sides", &Params::sides,
      "both; low: only the smallest values, as published for one scale per tensor");
  }
};

// Between two neighbours in proportion, as numpy.percentile() does. `values` is reordered.
float percentile(std::vector<float>& values, double percent) {
  const double place = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(place);
  const auto middle = values.begin() + below;
  std::nth_element(values.begin(), middle, values.end());
  const double low = *middle, part = place - static_cast<double>(below);
  if (part == 0) return *middle;
  const double high = *std::min_element(middle + 1, values.end());
  return static_cast<float>(low + part * (high - low));
}

class CurrentMinMax final : public BatchRangeObserver {
 public:
  CurrentMinMax(const Params& params, const QuantSpec& spec)
      : BatchRangeObserver(spec), params_(params) {}
  bool last_batch_decides() const override { return true; }

 private:
  Range batch_range(const at::Tensor& rows) override {
    Range range = min_max(rows, spec());
    if (params_.percentile == 0) return range;
    float* min = range.min.mutable_data_ptr<float>();
    float* max = range.max.mutable_data_ptr<float>();
    const ScaleMap map = ScaleMap::make(spec(), rows.sizes());
    map.for_each_scale(rows, [&](int64_t scale, std::vector<float> values) {
      if (!std::isfinite(max[scale] - min[scale])) return;  // it is reported
      min[scale] = percentile(values, params_.percentile);
      if (params_.sides == CutSides::kBoth) {
        max[scale] = percentile(values, 100 - params_.percentile);
      }
    });
    return range;
  }
  float update_min(float, float batch, int64_t) const override { return batch; }
  float update_max(float, float batch, int64_t) const override { return batch; }

  Params params_;
};

}  // namespace

void register_observer_current_minmax(Plugins& plugins) {
  add_plugin<CurrentMinMax, Params>(plugins.observers, "current_minmax",
                                    "Extremes, or percentiles, of the last batch.",
                                    "Qualcomm current_minmax");
}

}  // namespace quell

#include "framework/quant/range_search_observer.h"

#include <cmath>

#include "framework/quant/scale_map.h"

namespace quell {

kernels::Side side_of(const at::Tensor& rows) {
  const Range whole = min_max(rows, QuantSpec{});  // one scale for all
  return kernels::side_of({*whole.min.const_data_ptr<float>(), *whole.max.const_data_ptr<float>()});
}

Range search_ranges(const at::Tensor& rows, const QuantSpec& spec, kernels::Side side,
                    const RangeSearch& search) {
  const kernels::AffineRule rule =
      kernels::affine_rule(spec.grid, static_cast<int>(spec.bits), spec.symmetric,
                           /*signed_range=*/side != kernels::Side::kPositive);
  Range range = min_max(rows, spec);
  float* min = range.min.mutable_data_ptr<float>();
  float* max = range.max.mutable_data_ptr<float>();
  const ScaleMap map = ScaleMap::make(spec, rows.sizes());
  map.for_each_scale(rows, [&](int64_t scale, std::vector<float> values) {
    if (!std::isfinite(max[scale] - min[scale])) return;
    const kernels::MinMax found = search(std::move(values), rule, side);
    min[scale] = found.min;
    max[scale] = found.max;
  });
  return range;
}

}  // namespace quell

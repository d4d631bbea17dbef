#include "solvers/adaround/grid_search.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <limits>

#include "framework/quant/scale_map.h"

namespace quell {
namespace {

constexpr int kRanges = 80;

at::Tensor quantized(const at::Tensor& weight, const at::Tensor& reach, const QuantSpec& spec) {
  return fake_quantize(weight, parameters_from_range({reach.neg(), reach}, spec), spec,
                       /*in_place=*/false);
}

// Squared errors of the weight, summed over the values of each scale: float64 [scales].
at::Tensor errors_of(const at::Tensor& weight, const at::Tensor& quantized, const ScaleMap& map) {
  const at::Tensor channels = weight.sub(quantized)
                                  .to(at::kDouble)
                                  .square_()
                                  .view({map.outer(), map.channels(), map.inner()})
                                  .sum(at::IntArrayRef{0, 2});
  if (map.scales() == map.channels()) return channels;
  // Feature groups have several channels.
  at::Tensor sums = at::zeros({map.scales()}, at::kDouble);
  const at::Tensor group = map.expand(at::arange(map.scales(), at::kFloat)).to(at::kLong);
  return sums.index_add_(0, group, channels);
}

}  // namespace

Range best_range(const at::Tensor& weight, const QuantSpec& spec, Reconstruction* outputs) {
  const at::Tensor values = weight.contiguous();
  const ScaleMap map = ScaleMap::make(spec, values.sizes());
  const Range extremes = min_max(values, spec);
  const at::Tensor reach = at::maximum(extremes.max, extremes.min.neg());
  const double infinity = std::numeric_limits<double>::infinity();
  at::Tensor best = reach, least = at::full({map.scales()}, infinity, at::kDouble);
  for (int i = 0; i < kRanges; ++i) {
    const at::Tensor candidate = reach.mul(1 - 0.01 * i);
    const at::Tensor found = quantized(values, candidate, spec);
    const at::Tensor error =
        outputs == nullptr
            ? errors_of(values, found, map)
            : at::full_like(least, outputs->mean_squared_error(found.view(
                                       {-1, values.dim() == 1 ? values.size(0) : values.size(1)})));
    const at::Tensor better = error.lt(least);
    best = at::where(better, candidate, best);
    least = at::where(better, error, least);
  }
  return {best.neg(), best};
}

}  // namespace quell

#include "tests/benchmarks/published/mse_search.h"

#include <ATen/ATen.h>
#include <algorithm>
#include <limits>

#include "framework/plugin/choice.h"
#include "framework/quant/observer.h"

namespace quell::published {
namespace {

constexpr int64_t kRanges = 100;

// One candidate in the published sequence: scale and zero point, quantize, subtract, absolute,
// square, mean.
double eager_loss(const at::Tensor& x, double min, double max, int64_t bits) {
  const int64_t levels = (int64_t{1} << bits) - 1;
  const at::Tensor low = at::clamp_max(at::scalar_tensor(min), 0);
  const at::Tensor high = at::clamp_min(at::scalar_tensor(max), 0);
  const at::Tensor step = at::clamp_min((high - low) / static_cast<double>(levels), 1e-8);
  const at::Tensor zero = at::clamp(-at::round(low / step), 0, levels);
  const at::Scalar scale = step.item(), zero_point = zero.item();
  const at::Tensor scaled = x / scale;
  const at::Tensor rounded = (at::round(scaled) - scaled) + scaled;
  const at::Tensor codes = at::clamp(rounded + zero_point, 0, levels);
  const at::Tensor quantized = (codes - zero_point) * scale;
  return (quantized - x).abs().pow(2).mean().item<double>();
}

}  // namespace

MseSearch search_mse(const at::Tensor& rows, int64_t bits, int64_t timed_candidates,
                     const Plugins& plugins) {
  MseSearch result;
  const int64_t zero_points = int64_t{1} << bits;
  result.candidates = kRanges * zero_points;
  result.timed = timed_candidates;
  QuantSpec spec;
  spec.bits = bits;
  const auto observer = ObserverChoice(plugins.observers, "mse").create(spec);
  Range found;
  result.ours = timed([&] {
    observer->observe(rows);
    found = observer->range();
  });

  const double min = rows.min().item<double>(), max = rows.max().item<double>();
  result.best_timed_loss = std::numeric_limits<double>::infinity();
  const auto levels = static_cast<double>(zero_points - 1);
  const Time time = timed([&] {
    for (int64_t i = 0; i < timed_candidates; ++i) {  // spread over all of them
      const int64_t candidate = i * result.candidates / timed_candidates;
      const double range = (max - min) * static_cast<double>(candidate / zero_points + 1) / kRanges;
      const double shift = static_cast<double>(candidate % zero_points) * range / levels;
      const double loss =
          eager_loss(rows, std::max(-shift, min), std::min(range - shift, max), bits);
      result.best_timed_loss = std::min(result.best_timed_loss, loss);
    }
  });
  result.eager =
      static_cast<double>(result.candidates) / static_cast<double>(timed_candidates) * time;
  result.eager_loss = eager_loss(rows, found.min.item<double>(), found.max.item<double>(), bits);
  return result;
}

}  // namespace quell::published

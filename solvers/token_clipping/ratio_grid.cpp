#include "solvers/token_clipping/ratio_grid.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "framework/base/error.h"

namespace quell {
namespace {

// The paper has 8, 6 and 4 bits.
double span_of_ratios(int64_t bits) {
  if (bits >= 8) return 0.1;
  if (bits == 7) return 0.2;
  if (bits == 6) return 0.3;
  return bits == 5 ? 0.6 : 0.9;
}

}  // namespace

double published_step(std::span<const Batch> batches) {
  constexpr double kLargestStep = 0.01;
  int64_t sequences = 1, length = 1;
  for (const Batch& batch : batches) {
    sequences = std::max(sequences, batch.sequences());
    length = std::max(length, batch.pad_to);
    for (int64_t i = 0; i < batch.sequences(); ++i) length = std::max(length, batch.length(i));
  }
  const double step =
      128 * 32 * kLargestStep / static_cast<double>(sequences) / static_cast<double>(length);
  const double digits = std::pow(10.0, 1 - std::floor(std::log10(step)));
  return std::min(std::rint(step * digits) / digits, kLargestStep);
}

std::vector<double> ratio_grid(double step, int64_t count, int64_t bits,
                               std::span<const Batch> batches) {
  if (step == 0) step = published_step(batches);
  if (count == 0) count = std::max<int64_t>(1, static_cast<int64_t>(span_of_ratios(bits) / step));
  std::vector<double> ratios;
  for (int64_t i = 0; i < count; ++i) ratios.push_back(1.0 - step * static_cast<double>(i));
  if (ratios.back() > 0) return ratios;
  throw ConfigError(
      fmt::format("token_wise_clipping: {} ratios at a step of {} end at {}, but a ratio is a "
                  "share of tokens above 0; lower `iterations` or `step`",
                  count, step, ratios.back()));
}

}  // namespace quell

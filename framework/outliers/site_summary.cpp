#include "framework/outliers/site_summary.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace quell {

const char* to_string(RowKind kind) {
  constexpr const char* kNames[] = {"token", "target", "sequence", "row", "attention"};
  return kNames[static_cast<int>(kind)];
}

std::vector<double> log_bin_edges() {
  std::vector<double> edges;
  for (int bin = 0; bin <= kLogBins; ++bin) {
    const double within = 1 + static_cast<double>(bin % kLogBinsPerOctave) / kLogBinsPerOctave;
    edges.push_back(std::ldexp(within, kLowestOctave + bin / kLogBinsPerOctave));
  }
  return edges;
}

double SiteSummary::deviation() const { return std::sqrt(all.variance()); }

double SiteSummary::reach(const kernels::Moments& part) const {
  const double distance = std::max(part.max - all.mean, all.mean - part.min) / deviation();
  return std::isfinite(distance) ? distance : 0;
}

std::vector<int64_t> SiteSummary::top_channels(int64_t count) const {
  std::vector<double> reaches;
  for (const kernels::Moments& channel : channels) reaches.push_back(reach(channel));
  std::vector<int64_t> order(channels.size());
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + std::min<int64_t>(count, static_cast<int64_t>(order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](int64_t a, int64_t b) {
    return reaches[a] != reaches[b] ? reaches[a] > reaches[b] : a < b;
  });
  order.erase(end, order.end());
  return order;
}

}  // namespace quell

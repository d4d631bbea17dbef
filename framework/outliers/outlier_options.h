// The `record.outliers:` section of an experiment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/config/schema.h"

namespace quell {

struct OutlierOptions {
  std::vector<std::string> sites = {"activation:*"};
  std::vector<double> sigmas = {4, 6, 10, 20};
  int64_t top_channels = 20;
  int64_t top_tokens = 20;
  int64_t bins = 128;
  bool all_tokens = false;
  std::vector<std::string> raw;
  int64_t raw_tokens = 1024;

  template <class V>
  static void describe(V& v) {
    v("sites", &OutlierOptions::sites, "which activations, as patterns of rules", or_single(),
      non_empty());
    v("sigmas", &OutlierOptions::sigmas,
      "values further than so many standard deviations of the site from its mean are counted; "
      "ascending",
      or_single(), non_empty(), greater_than(0));
    v("top_channels", &OutlierOptions::top_channels, "channels listed, most extreme first",
      at_least(0));
    v("top_tokens", &OutlierOptions::top_tokens, "tokens listed, most extreme first", at_least(0));
    v("bins", &OutlierOptions::bins, "of the linear histogram", in_range(1, 65536));
    v("all_tokens", &OutlierOptions::all_tokens,
      "range and counts of every token, not only of the most extreme ones");
    v("raw", &OutlierOptions::raw,
      "activations that are stored themselves, as patterns of rules; attention matrices never are",
      or_single());
    v("raw_tokens", &OutlierOptions::raw_tokens, "of the calibration set, the first so many",
      at_least(1));
  }
  static void check(const OutlierOptions& options, Report& report) {
    for (size_t i = 1; i < options.sigmas.size(); ++i) {
      if (options.sigmas[i] > options.sigmas[i - 1]) continue;
      report.problem("sigmas", "must ascend, each value larger than the one before");
      return;
    }
  }
};

}  // namespace quell

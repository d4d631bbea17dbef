// Which sites a model's quality hangs on: groups of sites quantized alone, and all but one group
// (leave-one-out, table 2 of the Qualcomm paper).
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/run/experiment.h"
#include "framework/task/task.h"

namespace quell {

// What belongs to one group: equal roles of one kind ("activation:norm"), a layer with all its
// sites ("encoder.3", "outside" for those of no layer), or a site.
enum class SiteGrouping { kRole, kLayer, kSite };

template <>
struct EnumNames<SiteGrouping> {
  static constexpr std::pair<const char*, SiteGrouping> values[] = {{"role", SiteGrouping::kRole},
                                                                    {"layer", SiteGrouping::kLayer},
                                                                    {"site", SiteGrouping::kSite}};
};

struct SensitivityOptions {
  SiteGrouping grouping = SiteGrouping::kRole;
  bool alone = true;           // only the group is quantized
  bool without = true;         // everything but the group is
  std::vector<int64_t> bits;   // of all quantized sites, one table each; empty: as the rules say
  std::filesystem::path file;  // sensitivity.json, written after every evaluation
};

// One evaluation.
struct SensitivityRow {
  std::string group;  // "" for no and for all sites
  std::string mode;   // "float", "all", "alone" or "without"
  int64_t bits = 0;   // 0: as the rules say
  int64_t sites = 0;  // that were quantized
  Metrics metrics;
};

// Runs the experiment's pipeline once for each number of bits, then evaluates. Rows that
// `options.file` has from an earlier call with the same experiment are not evaluated again. Throws
// ConfigError when the file is of another experiment.
std::vector<SensitivityRow> measure_sensitivity(const ExperimentSpec& spec,
                                                const SensitivityOptions& options,
                                                const Plugins& plugins, Log& log);

}  // namespace quell

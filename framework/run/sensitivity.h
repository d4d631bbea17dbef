// Which sites a model's quality hangs on: groups of sites quantized alone, and all but one group
// (leave-one-out, table 2 of the Qualcomm paper).
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/log.h"
#include "framework/run/bench.h"
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

// A rule for whatever sites it is tried on: "bits: 4".
struct SiteSetting {
  std::string text;
  Rule rule;  // without sites
};
// Reads keys of a rule, without its sites. Throws ConfigError.
SiteSetting read_setting(const std::string& text, const Plugins& plugins);

struct SensitivityOptions {
  SiteGrouping grouping = SiteGrouping::kRole;
  bool alone = true;                    // only the group is quantized
  bool without = true;                  // everything but the group is
  std::vector<std::string> sites = {};  // that groups are made of, by patterns; empty: all
  // What these sites take, on top of the rules, one table each; empty: as the rules say.
  std::vector<SiteSetting> settings = {};
  std::filesystem::path file;  // sensitivity.json, written after every evaluation
};

// The metric of SensitivityRow that no task has.
inline constexpr const char* kOutputError = "output_error";

// One evaluation.
struct SensitivityRow {
  std::string group;    // "" for no and for all sites
  std::string mode;     // "float", "all", "alone" or "without"
  std::string setting;  // SiteSetting::text; "" as the rules say
  int64_t bits = 0;     // where the setting gives some
  int64_t sites = 0;    // that were quantized
  // Of the task, and "output_error": the mean squared distance of all outputs from those of the
  // float network, where the task keeps some.
  Metrics metrics;
};

// The quantized sites that the options choose, in groups in the order of their first sites.
std::vector<std::pair<std::string, std::vector<SiteId>>> groups_of(
    const Bench& bench, const SensitivityOptions& options);

// Runs the experiment's pipeline once for each number of bits, then evaluates. Rows that
// `options.file` has from an earlier call with the same experiment are not evaluated again. Throws
// ConfigError when the file is of another experiment.
std::vector<SensitivityRow> measure_sensitivity(const ExperimentSpec& spec,
                                                const SensitivityOptions& options,
                                                const Plugins& plugins, Log& log);

}  // namespace quell

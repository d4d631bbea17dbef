#include "framework/run/sensitivity.h"

#include <fmt/format.h>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/config/enum_name.h"
#include "framework/config/node.h"
#include "framework/json/json.h"
#include "framework/run/run.h"

namespace quell {
namespace {

using Json = nlohmann::ordered_json;

std::string group_of(const Site& site, SiteGrouping grouping) {
  switch (grouping) {
    case SiteGrouping::kRole:
      return fmt::format("{}:{}", to_string(site.kind), site.role);
    case SiteGrouping::kLayer:
      return site.layer < 0
                 ? "outside"
                 : fmt::format("{}.{}", site.name.substr(0, site.name.find('.')), site.layer);
    case SiteGrouping::kSite:
      return site.key();
  }
  QUELL_ASSERT(false, "unhandled grouping");
}

// Groups in the order of their first sites.
std::vector<std::pair<std::string, std::vector<SiteId>>> groups_of(const Bench& bench,
                                                                   SiteGrouping grouping) {
  std::vector<std::pair<std::string, std::vector<SiteId>>> groups;
  std::map<std::string, size_t> places;
  for (size_t id = 0; id < bench.plan.size(); ++id) {
    if (!bench.plan[id].quantize) continue;
    const std::string name = group_of(bench.model->sites()[id], grouping);
    const auto [place, is_new] = places.emplace(name, groups.size());
    if (is_new) groups.push_back({name, {}});
    groups[place->second].second.push_back(static_cast<SiteId>(id));
  }
  return groups;
}

Rule bits_everywhere(int64_t bits) {
  Rule rule;
  rule.sites = {"weight:*", "activation:*"};
  rule.bits = bits;
  return rule;
}

// What was measured, on disk.
class Measured {
 public:
  Measured(const std::filesystem::path& file, const ExperimentSpec& spec, SiteGrouping grouping)
      : file_(file), experiment_(to_yaml(to_node(spec))), grouping_(enum_name(grouping)) {
    if (file.empty() || !std::filesystem::exists(file)) return;
    read_own_json(file, [&](const Json& root) { read(root); });
  }

  const std::vector<SensitivityRow>& rows() const { return rows_; }
  bool has(const SensitivityRow& wanted) const {
    for (const SensitivityRow& row : rows_) {
      if (row.group == wanted.group && row.mode == wanted.mode && row.bits == wanted.bits)
        return true;
    }
    return false;
  }
  void add(SensitivityRow row) {
    rows_.push_back(std::move(row));
    if (!file_.empty()) write_file(file_, json().dump(2) + "\n");
  }

 private:
  void read(const Json& root) {
    if (root.at("experiment").get<std::string>() != experiment_ ||
        root.at("grouping").get<std::string>() != grouping_) {
      throw ConfigError(
          fmt::format("{}: holds the sensitivity of another experiment or grouping; remove it, or "
                      "write elsewhere with --output",
                      file_.string()));
    }
    for (const Json& entry : root.at("rows")) {
      SensitivityRow row{
          entry.at("group"), entry.at("mode"), entry.at("bits"), entry.at("sites"), {}};
      for (const Json& metric : entry.at("metrics")) {
        const Json& value = metric.at("value");
        row.metrics.emplace_back(metric.at("name"),
                                 value.is_null() ? std::nan("") : value.get<double>());
      }
      rows_.push_back(std::move(row));
    }
  }

  Json json() const {
    Json json = {{"experiment", experiment_}, {"grouping", grouping_}, {"rows", Json::array()}};
    for (const SensitivityRow& row : rows_) {
      Json metrics = Json::array();  // in their order; NaN becomes null
      for (const auto& [name, value] : row.metrics)
        metrics.push_back({{"name", name}, {"value", value}});
      json["rows"].push_back({{"group", row.group},
                              {"mode", row.mode},
                              {"bits", row.bits},
                              {"sites", row.sites},
                              {"metrics", metrics}});
    }
    return json;
  }

  std::filesystem::path file_;
  std::string experiment_;
  std::string grouping_;
  std::vector<SensitivityRow> rows_;
};

// An evaluation, and which sites it quantizes.
struct Wanted {
  SensitivityRow row;
  std::vector<SiteId> sites;
};

std::vector<Wanted> wanted_rows(const Bench& bench, const SensitivityOptions& options,
                                int64_t bits) {
  const auto groups = groups_of(bench, options.grouping);
  std::vector<SiteId> all;
  for (const auto& [name, ids] : groups) all.insert(all.end(), ids.begin(), ids.end());
  std::vector<Wanted> wanted = {{{"", "float", bits, 0, {}}, {}}, {{"", "all", bits, 0, {}}, all}};
  for (const auto& [name, ids] : groups) {
    if (options.alone) wanted.push_back({{name, "alone", bits, 0, {}}, ids});
    if (!options.without) continue;
    std::vector<SiteId> others;
    for (const auto& [other, other_ids] : groups) {
      if (other != name) others.insert(others.end(), other_ids.begin(), other_ids.end());
    }
    wanted.push_back({{name, "without", bits, 0, {}}, std::move(others)});
  }
  for (Wanted& one : wanted) one.row.sites = std::ssize(one.sites);
  return wanted;
}

}  // namespace

std::vector<SensitivityRow> measure_sensitivity(const ExperimentSpec& spec,
                                                const SensitivityOptions& options,
                                                const Plugins& plugins, Log& log) {
  Measured measured(options.file, spec, options.grouping);
  const std::vector<int64_t> widths = options.bits.empty() ? std::vector<int64_t>{0} : options.bits;
  for (const int64_t bits : widths) {
    ExperimentSpec at_bits = spec;
    if (bits > 0) at_bits.quant.rules.push_back(bits_everywhere(bits));
    Bench bench = load_bench(at_bits, plugins, log);
    std::vector<Wanted> wanted = wanted_rows(bench, options, bits);
    std::erase_if(wanted, [&](const Wanted& one) { return measured.has(one.row); });
    if (wanted.empty()) continue;
    CalibratedNetwork network(std::move(bench), log);
    for (Wanted& one : wanted) {
      one.row.metrics = network.evaluate(one.sites).metrics;
      const std::string name =
          one.row.group.empty() ? one.row.mode : one.row.group + " " + one.row.mode;
      log.info(fmt::format("{:<40} {:.4f}", name,
                           one.row.metrics.empty() ? std::nan("") : one.row.metrics[0].second));
      measured.add(std::move(one.row));
    }
  }
  return measured.rows();
}

}  // namespace quell

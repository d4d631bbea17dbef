#include "framework/run/sensitivity.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/config/enum_name.h"
#include "framework/config/load.h"
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

// Mean squared distance of all outputs; NaN where there are none.
double output_error(const Evaluation& evaluation, const Evaluation& of_float) {
  double sum = 0, count = 0;
  for (size_t i = 0; i < evaluation.predictions.size(); ++i) {
    for (const auto& [name, values] : evaluation.predictions[i].outputs) {
      const std::vector<float>& expected = of_float.predictions[i].outputs.at(name);
      for (size_t k = 0; k < std::min(values.size(), expected.size()); ++k) {
        const double difference = static_cast<double>(values[k]) - expected[k];
        sum += difference * difference;
      }
      count += static_cast<double>(std::min(values.size(), expected.size()));
    }
  }
  return sum / count;
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
      if (row.group == wanted.group && row.mode == wanted.mode && row.setting == wanted.setting)
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
      SensitivityRow row{entry.at("group"), entry.at("mode"),  entry.at("setting"),
                         entry.at("bits"),  entry.at("sites"), {}};
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
                              {"setting", row.setting},
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
                                const SiteSetting& setting) {
  const auto groups = groups_of(bench, options);
  std::vector<SiteId> all;
  for (const auto& [name, ids] : groups) all.insert(all.end(), ids.begin(), ids.end());
  const auto row = [&](const std::string& group, const std::string& mode, std::vector<SiteId> ids) {
    const int64_t count = std::ssize(ids);
    return Wanted{{group, mode, setting.text, setting.rule.bits.value_or(0), count, {}},
                  std::move(ids)};
  };
  std::vector<Wanted> wanted = {row("", "float", {}), row("", "all", all)};
  for (const auto& [name, ids] : groups) {
    if (options.alone) wanted.push_back(row(name, "alone", ids));
    if (!options.without) continue;
    std::vector<SiteId> others;
    for (const auto& [other, other_ids] : groups) {
      if (other != name) others.insert(others.end(), other_ids.begin(), other_ids.end());
    }
    wanted.push_back(row(name, "without", std::move(others)));
  }
  return wanted;
}

bool chosen(const Site& site, const std::vector<std::string>& patterns) {
  return patterns.empty() || matches_any(site, patterns);
}

}  // namespace

SiteSetting read_setting(const std::string& text, const Plugins& plugins) {
  Problems problems;
  ConfigNode node = parse_yaml(text, fmt::format("setting \"{}\"", text), problems);
  if (node.is_map() && node.find("sites") == nullptr) {
    node.set("sites", ConfigNode::scalar("*"));
  } else {
    problems.add({fmt::format("setting \"{}\"", text)}, "",
                 "expected keys of a rule without its sites, such as \"bits: 4\"");
  }
  ReadContext context{problems, &plugins};
  SiteSetting setting{text, problems.empty() ? read_config<Rule>(node, context) : Rule()};
  problems.throw_if_any();
  return setting;
}

std::vector<std::pair<std::string, std::vector<SiteId>>> groups_of(
    const Bench& bench, const SensitivityOptions& options) {
  std::vector<std::pair<std::string, std::vector<SiteId>>> groups;
  std::map<std::string, size_t> places;
  for (size_t id = 0; id < bench.plan.size(); ++id) {
    const Site& site = bench.model->sites()[id];
    if (!bench.plan[id].quantize || !chosen(site, options.sites)) continue;
    const std::string name = group_of(site, options.grouping);
    const auto [place, is_new] = places.emplace(name, groups.size());
    if (is_new) groups.push_back({name, {}});
    groups[place->second].second.push_back(static_cast<SiteId>(id));
  }
  if (!groups.empty()) return groups;
  throw ConfigError(
      "no quantized site is among those that are asked for; `quell check EXPERIMENT` "
      "lists them");
}

std::vector<SensitivityRow> measure_sensitivity(const ExperimentSpec& spec,
                                                const SensitivityOptions& options,
                                                const Plugins& plugins, Log& log) {
  Measured measured(options.file, spec, options.grouping);
  const auto settings = options.settings.empty() ? std::vector<SiteSetting>(1) : options.settings;
  for (const SiteSetting& setting : settings) {
    ExperimentSpec changed = spec;
    if (!setting.text.empty()) {
      changed.quant.rules.push_back(setting.rule);
      changed.quant.rules.back().sites =
          options.sites.empty() ? std::vector<std::string>{"*"} : options.sites;
    }
    Bench bench = load_bench(changed, plugins, log);
    std::vector<Wanted> wanted = wanted_rows(bench, options, setting);
    std::erase_if(wanted, [&](const Wanted& one) { return measured.has(one.row); });
    if (wanted.empty()) continue;
    CalibratedNetwork network(std::move(bench), log);
    const Evaluation of_float = network.evaluate({});
    for (Wanted& one : wanted) {
      const Evaluation evaluation = one.sites.empty() ? of_float : network.evaluate(one.sites);
      one.row.metrics = evaluation.metrics;
      const double error = output_error(evaluation, of_float);
      if (!std::isnan(error)) one.row.metrics.emplace_back(kOutputError, error);
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

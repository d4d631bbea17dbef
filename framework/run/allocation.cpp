#include "framework/run/allocation.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <memory>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/suggest.h"
#include "framework/config/node.h"
#include "framework/run/run.h"
#include "framework/run/setting_cost.h"
#include "framework/task/metric_names.h"

namespace quell {
namespace {

// A choice for the groups so far that no other one beats in both loss and cost.
struct Partial {
  int64_t cost = 0;
  double loss = 0;
  size_t before = 0;  // its place among those of one group less
  size_t choice = 0;
};

std::vector<Partial> undominated(std::vector<Partial> all) {
  std::stable_sort(all.begin(), all.end(), [](const Partial& left, const Partial& right) {
    return std::pair(left.cost, left.loss) < std::pair(right.cost, right.loss);
  });
  std::vector<Partial> kept;
  for (const Partial& one : all) {
    if (kept.empty() || one.loss < kept.back().loss) kept.push_back(one);
  }
  return kept;
}

int64_t least_cost(const std::vector<AllocationChoice>& choices) {
  return std::min_element(
             choices.begin(), choices.end(),
             [](const auto& left, const auto& right) { return left.cost < right.cost; })
      ->cost;
}

double value_of(const SensitivityRow& row, const std::string& metric) {
  for (const auto& [name, value] : row.metrics) {
    if (name == metric) return value;
  }
  std::vector<std::string> known;
  for (const auto& [name, value] : row.metrics) known.push_back(name);
  throw ConfigError(
      fmt::format("the task has no metric \"{}\"{}", metric, did_you_mean(metric, known)));
}

const SensitivityRow& row_of(const std::vector<SensitivityRow>& rows, const std::string& group,
                             const std::string& mode, const std::string& setting) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const SensitivityRow& row) {
    return row.group == group && row.mode == mode && row.setting == setting;
  });
  QUELL_ASSERT(found != rows.end(), "every group was measured with every setting");
  return *found;
}

ExperimentSpec with_setting(ExperimentSpec spec, const SiteSetting& setting,
                            std::vector<std::string> sites) {
  spec.quant.rules.push_back(setting.rule);
  spec.quant.rules.back().sites = std::move(sites);
  return spec;
}

std::vector<std::string> keys_of(const Bench& bench, const std::vector<SiteId>& ids) {
  std::vector<std::string> keys;
  for (const SiteId id : ids) keys.push_back(bench.model->sites()[static_cast<size_t>(id)].key());
  return keys;
}

// What `allocate` chooses from, and what it knows of it.
struct Choices {
  const std::vector<SiteSetting>& settings;
  NamedGroups groups;
  std::vector<std::vector<AllocationChoice>> of_groups;
  std::string metric;
  double float_value = 0;
  double sign = 1;  // of a loss: 1 where more is better
};

// What each group loses alone with each setting.
void add_losses(const AllocationOptions& options, const std::vector<SensitivityRow>& rows,
                Choices& choices) {
  const SensitivityRow& of_float = row_of(rows, "", "float", choices.settings.front().text);
  if (of_float.metrics.empty()) throw ConfigError("the task gives no metric to allocate by");
  choices.metric = options.metric.empty() ? of_float.metrics.front().first : options.metric;
  choices.float_value = value_of(of_float, choices.metric);
  choices.sign = lower_is_better(choices.metric) || choices.metric == kOutputError ? -1 : 1;
  for (const auto& [name, ids] : choices.groups) {
    auto& of_group = choices.of_groups.emplace_back();
    for (const SiteSetting& setting : choices.settings) {
      const double value = value_of(row_of(rows, name, "alone", setting.text), choices.metric);
      of_group.push_back({choices.sign * (choices.float_value - value), 0});
    }
  }
}

void add_costs(const SettingCost& cost, const ExperimentSpec& spec, const Bench& bench,
               const Plugins& plugins, Choices& choices) {
  std::vector<std::string> keys;  // of all groups
  for (const auto& [name, ids] : choices.groups) {
    for (std::string& key : keys_of(bench, ids)) keys.push_back(std::move(key));
  }
  for (size_t setting = 0; setting < choices.settings.size(); ++setting) {
    Problems problems;
    const auto rules = with_setting(spec, choices.settings[setting], keys).quant.rules;
    const auto plan = plan_sites(bench.model->sites(), rules, plugins, problems);
    problems.throw_if_any();
    for (size_t group = 0; group < choices.groups.size(); ++group) {
      choices.of_groups[group][setting].cost = cost.of(group, plan);
    }
  }
}

// Sets unit and budget, too.
std::unique_ptr<SettingCost> cost_of(const AllocationOptions& options, const Bench& bench,
                                     const NamedGroups& groups, const Plugins& plugins,
                                     Allocation& result) {
  constexpr double kBitsPerByte = 8;
  result.budget = static_cast<int64_t>(options.budget);
  if (options.kind == BudgetKind::kBitOperations) {
    result.unit = "bit operations";
    Log quiet(Verbosity::kQuiet);
    return std::make_unique<BitOperationsCost>(load_bench(bench.spec, plugins, quiet), groups,
                                               plugins);
  }
  result.unit = "bytes";
  auto bytes = std::make_unique<BytesCost>(*bench.model, groups);
  if (options.kind == BudgetKind::kAverageBits) {
    const auto values = static_cast<double>(bytes->values());
    result.budget = static_cast<int64_t>(std::floor(options.budget * values / kBitsPerByte));
  }
  return bytes;
}

// The experiment with the settings that were found.
ExperimentSpec with_found(ExperimentSpec spec, const Bench& bench, const Choices& choices,
                          const std::vector<size_t>& found, Allocation& result) {
  spec.name += "-allocated";
  result.metric = choices.metric;
  result.float_value = result.predicted = choices.float_value;
  for (size_t group = 0; group < choices.groups.size(); ++group) {
    const auto& [name, ids] = choices.groups[group];
    const SiteSetting& setting = choices.settings[found[group]];
    const AllocationChoice& choice = choices.of_groups[group][found[group]];
    spec = with_setting(std::move(spec), setting, keys_of(bench, ids));
    result.groups.push_back({name, setting.text, choice.loss, choice.cost});
    result.cost += choice.cost;
    result.predicted -= choices.sign * choice.loss;
  }
  return spec;
}

}  // namespace

std::vector<size_t> allocate(const std::vector<std::vector<AllocationChoice>>& groups,
                             int64_t budget, const std::string& unit) {
  int64_t rest = 0;  // that the groups to come cost at least
  for (const auto& choices : groups) rest += least_cost(choices);
  if (rest > budget) {
    throw ConfigError(fmt::format(
        "no allocation meets the budget of {} {}: the cheapest settings take {}; raise the budget, "
        "or offer cheaper settings",
        budget, unit, rest));
  }
  std::vector<std::vector<Partial>> steps = {{{}}};
  for (const auto& choices : groups) {
    rest -= least_cost(choices);
    std::vector<Partial> next;
    for (size_t before = 0; before < steps.back().size(); ++before) {
      const Partial& partial = steps.back()[before];
      for (size_t choice = 0; choice < choices.size(); ++choice) {
        const int64_t cost = partial.cost + choices[choice].cost;
        if (cost + rest > budget) continue;
        next.push_back({cost, partial.loss + choices[choice].loss, before, choice});
      }
    }
    steps.push_back(undominated(std::move(next)));
  }
  std::vector<size_t> found(groups.size());
  size_t place = steps.back().size() - 1;  // the dearest of those left loses least
  for (size_t group = groups.size(); group-- > 0;) {
    found[group] = steps[group + 1][place].choice;
    place = steps[group + 1][place].before;
  }
  return found;
}

Allocation allocate_settings(const ExperimentSpec& spec, const AllocationOptions& options,
                             const Plugins& plugins, Log& log) {
  Log quiet(Verbosity::kQuiet);
  const Bench bench = load_bench(spec, plugins, quiet);
  Choices choices{options.sensitivity.settings, groups_of(bench, options.sensitivity), {}, {}};
  Allocation result;
  const auto cost = cost_of(options, bench, choices.groups, plugins, result);
  add_losses(options, measure_sensitivity(spec, options.sensitivity, plugins, log), choices);
  add_costs(*cost, spec, bench, plugins, choices);
  const std::vector<size_t> found = allocate(choices.of_groups, result.budget, result.unit);
  const ExperimentSpec allocated = with_found(spec, bench, choices, found, result);
  if (!options.experiment.empty()) write_file(options.experiment, to_yaml(to_node(allocated)));
  SensitivityOptions once{.alone = false, .without = false, .sites = options.sensitivity.sites};
  const auto measured = measure_sensitivity(allocated, once, plugins, quiet);
  result.measured = value_of(row_of(measured, "", "all", ""), result.metric);
  return result;
}

}  // namespace quell

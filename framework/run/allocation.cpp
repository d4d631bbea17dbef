#include "framework/run/allocation.h"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/suggest.h"
#include "framework/config/node.h"
#include "framework/quant/scale_map.h"
#include "framework/run/run.h"
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

// Codes of weights in whole bytes, and float32 scales and zero points. A tied table counts where it
// comes first.
class SiteBytes {
 public:
  explicit SiteBytes(const Bench& bench) : model_(*bench.model) {
    std::set<std::string> seen;
    for (size_t id = 0; id < model_.sites().size(); ++id) {
      if (model_.sites()[id].kind != SiteKind::kWeight) continue;
      const auto site = static_cast<SiteId>(id);
      if (seen.insert(model_.weight_identity(site)).second) first_.insert(site);
    }
  }

  int64_t elements(SiteId id) const {
    if (!first_.contains(id)) return 0;
    const auto& shape = model_.weight_shape(id);
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  }

  int64_t of(SiteId id, const QuantSpec& spec) const {
    constexpr int64_t kBitsPerByte = 8, kFloatBytes = 4;
    const int64_t parameters = spec.symmetric ? kFloatBytes : 2 * kFloatBytes;
    if (model_.sites()[static_cast<size_t>(id)].kind == SiteKind::kActivation) {
      return parameters * known_scales(spec).value_or(0);
    }
    const int64_t codes = (elements(id) * spec.bits + kBitsPerByte - 1) / kBitsPerByte;
    return codes == 0 ? 0
                      : codes + parameters * ScaleMap::make(spec, model_.weight_shape(id)).scales();
  }

 private:
  const Model& model_;
  SiteSet first_;
};

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

}  // namespace

std::vector<size_t> allocate(const std::vector<std::vector<AllocationChoice>>& groups,
                             int64_t budget) {
  int64_t rest = 0;  // that the groups to come cost at least
  for (const auto& choices : groups) rest += least_cost(choices);
  if (rest > budget) {
    throw ConfigError(fmt::format(
        "no allocation meets the budget of {} bytes: the cheapest settings take {}; raise the "
        "budget, or offer cheaper settings",
        budget, rest));
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
  const auto& settings = options.sensitivity.settings;
  const auto rows = measure_sensitivity(spec, options.sensitivity, plugins, log);
  Log quiet(Verbosity::kQuiet);
  const Bench bench = load_bench(spec, plugins, quiet);
  const auto groups = groups_of(bench, options.sensitivity);
  const SensitivityRow& of_float = row_of(rows, "", "float", settings.front().text);
  if (of_float.metrics.empty()) throw ConfigError("the task gives no metric to allocate by");
  Allocation result;
  result.metric = options.metric.empty() ? of_float.metrics.front().first : options.metric;
  result.float_value = value_of(of_float, result.metric);
  const double sign = lower_is_better(result.metric) || result.metric == kOutputError ? -1 : 1;

  const SiteBytes bytes(bench);
  std::vector<std::vector<AllocationChoice>> choices(groups.size());
  int64_t elements = 0;
  std::vector<std::string> keys;  // of all groups
  for (const auto& [name, ids] : groups) {
    for (const SiteId id : ids) elements += bytes.elements(id);
    for (std::string& key : keys_of(bench, ids)) keys.push_back(std::move(key));
  }
  for (const SiteSetting& setting : settings) {
    Problems problems;
    const auto rules = with_setting(spec, setting, keys).quant.rules;
    const auto plan = plan_sites(bench.model->sites(), rules, plugins, problems);
    problems.throw_if_any();
    for (size_t group = 0; group < groups.size(); ++group) {
      const auto& [name, ids] = groups[group];
      AllocationChoice choice;
      choice.loss = sign * (result.float_value -
                            value_of(row_of(rows, name, "alone", setting.text), result.metric));
      for (const SiteId id : ids) choice.cost += bytes.of(id, plan[static_cast<size_t>(id)].spec);
      choices[group].push_back(choice);
    }
  }
  constexpr double kBitsPerByte = 8;
  result.budget_bytes = static_cast<int64_t>(
      options.average_bits > 0
          ? std::floor(options.average_bits * static_cast<double>(elements) / kBitsPerByte)
          : options.budget_bytes);
  const std::vector<size_t> found = allocate(choices, result.budget_bytes);

  ExperimentSpec allocated = spec;
  allocated.name += "-allocated";
  result.predicted = result.float_value;
  for (size_t group = 0; group < groups.size(); ++group) {
    const auto& [name, ids] = groups[group];
    const SiteSetting& setting = settings[found[group]];
    const AllocationChoice& choice = choices[group][found[group]];
    allocated = with_setting(std::move(allocated), setting, keys_of(bench, ids));
    result.groups.push_back({name, setting.text, choice.loss, choice.cost});
    result.bytes += choice.cost;
    result.predicted -= sign * choice.loss;
  }
  if (!options.experiment.empty()) write_file(options.experiment, to_yaml(to_node(allocated)));
  SensitivityOptions once{.alone = false, .without = false, .sites = options.sensitivity.sites};
  const auto measured = measure_sensitivity(allocated, once, plugins, quiet);
  result.measured = value_of(row_of(measured, "", "all", ""), result.metric);
  return result;
}

}  // namespace quell

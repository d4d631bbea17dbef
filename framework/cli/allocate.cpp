#include <fmt/format.h>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/print.h"
#include "framework/cli/sensitivity_options.h"
#include "framework/cli/verb.h"
#include "framework/run/allocation.h"

namespace quell {
namespace fs = std::filesystem;
namespace po = boost::program_options;
namespace {

// Beyond it a number of float64 is no count any more.
constexpr double kLargestBudget = 9e15;

void read_budget(const CommandLine& line, AllocationOptions& options) {
  constexpr std::pair<const char*, BudgetKind> kBudgets[] = {
      {"average-bits", BudgetKind::kAverageBits},
      {"bytes", BudgetKind::kBytes},
      {"bit-operations", BudgetKind::kBitOperations}};
  int given = 0;
  for (const auto& [name, kind] : kBudgets) {
    if (!line.has(name)) continue;
    ++given;
    options.kind = kind;
    options.budget = line.get<double>(name);
  }
  if (given == 1 && options.budget > 0 && options.budget < kLargestBudget) return;
  throw ConfigError(
      "give a budget: one of --average-bits, --bytes and --bit-operations, larger than 0");
}

AllocationOptions options_from(const CommandLine& line, const ExperimentSpec& spec,
                               const Plugins& plugins) {
  AllocationOptions options;
  options.sensitivity = sensitivity_options(line, spec, "allocation");
  options.sensitivity.without = false;
  options.sensitivity.sites = line.list("sites");
  for (const std::string& text : line.list("choose")) {
    options.sensitivity.settings.push_back(read_setting(text, plugins));
  }
  if (options.sensitivity.settings.size() < 2) {
    throw ConfigError(
        "--choose needs at least two settings, such as --choose \"bits: 4\" "
        "\"bits: 8\"");
  }
  options.metric = line.get<std::string>("metric");
  read_budget(line, options);
  options.experiment = options.sensitivity.file.parent_path() / "experiment.yaml";
  return options;
}

nlohmann::ordered_json json_of(const Allocation& found) {
  std::string unit = found.unit;
  std::replace(unit.begin(), unit.end(), ' ', '_');
  nlohmann::ordered_json groups = nlohmann::ordered_json::array();
  for (const Allocation::Group& group : found.groups) {
    groups.push_back({{"group", group.name},
                      {"setting", group.setting},
                      {"loss", group.loss},
                      {unit, group.cost}});
  }
  return {
      {"metric", found.metric},     {"float", found.float_value}, {"predicted", found.predicted},
      {"measured", found.measured}, {unit, found.cost},           {"budget_" + unit, found.budget},
      {"groups", std::move(groups)}};
}

void print(const Allocation& found, const fs::path& experiment) {
  std::vector<std::vector<std::string>> table = {{"group", "setting", found.unit, "loss alone"}};
  for (const Allocation::Group& group : found.groups) {
    table.push_back({group.name, group.setting, fmt::format("{}", group.cost),
                     fmt::format("{:.4f}", group.loss)});
  }
  fmt::print("{}\n", text_table(table));
  fmt::print("{} of {} {}; {}: float {:.4f}, predicted {:.4f}, measured {:.4f}\n", found.cost,
             found.budget, found.unit, found.metric, found.float_value, found.predicted,
             found.measured);
  fmt::print("quell run {}\n", experiment.string());
}

}  // namespace

int run_allocate(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line(
      "allocate EXPERIMENT --choose SETTING SETTING... (--average-bits B | --bytes N | "
      "--bit-operations N) [options]",
      "Chooses a setting for each group of sites, so that they lose least within a budget. Each "
      "group is\nquantized alone with each setting first, and losses are taken to add up; what the "
      "choice then\nreally gives is measured beside it. A stopped call goes on where it was.");
  add_experiment_options(line);
  add_sensitivity_options(line, "site", "allocation");
  line.add()("choose", po::value<std::vector<std::string>>()->multitoken(),
             "settings that a group may take: keys of a rule, \"bits: 4\" or \"granularity: "
             "feature_groups, groups: 6\" in braces")(
      "sites", po::value<std::vector<std::string>>()->multitoken(),
      "patterns of the sites that are chosen for; without: all quantized ones")(
      "average-bits", po::value<double>(), "budget: bits for each value of their weights")(
      "bytes", po::value<double>(), "budget: bytes of their codes, scales and zero points")(
      "bit-operations", po::value<double>(),
      "budget: bits of weight times bits of input, for each multiplication of one row in the "
      "linears that have one of the sites")(
      "metric", po::value<std::string>()->default_value(""),
      "what must not be lost; without: the task's main metric; output_error: distance of the "
      "outputs from the float network's")("quiet", "print nothing but the table")(
      "json", "print allocation.json instead");
  line.positional("experiment", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("experiment");
  if (files.empty()) {
    throw ConfigError("allocate needs an experiment file; see `quell allocate --help`");
  }
  const ExperimentSpec spec = load_experiment(files[0], line.list("set"), plugins);
  const AllocationOptions options = options_from(line, spec, plugins);
  Log log(line.has("quiet") ? Verbosity::kQuiet : Log::default_verbosity());
  const Allocation found = allocate_settings(spec, options, plugins, log);
  const nlohmann::ordered_json json = json_of(found);
  write_file(options.sensitivity.file.parent_path() / "allocation.json", json.dump(2) + "\n");
  if (line.has("json")) {
    print_json(json);
  } else {
    print(found, options.experiment);
  }
  return 0;
}

}  // namespace quell

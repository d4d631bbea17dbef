#include "framework/run/sensitivity.h"

#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/print.h"
#include "framework/cli/sensitivity_options.h"
#include "framework/cli/verb.h"

namespace quell {
namespace po = boost::program_options;
namespace {

SensitivityOptions options_from(const CommandLine& line, const ExperimentSpec& spec,
                                const Plugins& plugins) {
  SensitivityOptions options = sensitivity_options(line, spec, "sensitivity");
  const auto only = line.get<std::string>("only");
  if (!only.empty() && only != "alone" && only != "without") {
    throw ConfigError(fmt::format("--only {}: expected alone or without", only));
  }
  options.alone = only != "without";
  options.without = only != "alone";
  for (const int64_t bits :
       line.has("bits") ? line.get<std::vector<int64_t>>("bits") : std::vector<int64_t>()) {
    options.settings.push_back(read_setting(fmt::format("bits: {}", bits), plugins));
  }
  return options;
}

// One line per group with the main metric; the first lines are no and all sites.
void print_table(const std::vector<SensitivityRow>& rows, const SensitivityOptions& options,
                 const std::string& setting) {
  std::vector<std::vector<std::string>> table = {{"quantized", "sites"}};
  if (options.alone) table[0].push_back("alone");
  if (options.without) table[0].push_back("all others");
  std::map<std::string, size_t> places;
  for (const SensitivityRow& row : rows) {
    if (row.setting != setting || row.metrics.empty()) continue;
    const std::string value = metric_text(row.metrics[0].first, row.metrics[0].second);
    if (row.group.empty()) {
      table.push_back(
          {row.mode == "float" ? "nothing" : "everything", fmt::format("{}", row.sites), value});
      continue;
    }
    const auto [place, is_new] = places.emplace(row.group, table.size());
    if (is_new) table.push_back({row.group, "", "", ""});
    std::vector<std::string>& line = table[place->second];
    line.resize(table[0].size());
    if (row.mode == "alone") line[1] = fmt::format("{}", row.sites);
    line[row.mode == "alone" || !options.alone ? 2 : 3] = value;
  }
  for (auto& line : table) line.resize(table[0].size());
  if (!setting.empty()) fmt::print("\n{}\n", setting);
  fmt::print("{}", text_table(table));
}

}  // namespace

int run_sensitivity(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line(
      "sensitivity EXPERIMENT [options]",
      "Runs the pipeline of an experiment, then evaluates it with one group of sites quantized at "
      "a "
      "time,\nand with all but one. Shows the main metric in percent; sensitivity.json has all. A "
      "stopped\ncall goes on where it was.");
  add_experiment_options(line);
  add_sensitivity_options(line, "role", "sensitivity");
  line.add()("only", po::value<std::string>()->default_value(""),
             "alone or without: half of the work")(
      "bits", po::value<std::vector<int64_t>>()->multitoken(),
      "bits of all quantized sites, one table each; without: as the rules say")(
      "quiet", "print nothing but the tables")("json", "print the file instead of tables");
  line.positional("experiment", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("experiment");
  if (files.empty()) {
    throw ConfigError("sensitivity needs an experiment file; see `quell sensitivity --help`");
  }
  const ExperimentSpec spec = load_experiment(files[0], line.list("set"), plugins);
  const SensitivityOptions options = options_from(line, spec, plugins);
  Log log(line.has("quiet") ? Verbosity::kQuiet : Log::default_verbosity());
  const std::vector<SensitivityRow> rows = measure_sensitivity(spec, options, plugins, log);
  if (line.has("json")) {
    fmt::print("{}", read_file(options.file));
    return 0;
  }
  if (options.settings.empty()) print_table(rows, options, "");
  for (const SiteSetting& setting : options.settings) print_table(rows, options, setting.text);
  return 0;
}

}  // namespace quell

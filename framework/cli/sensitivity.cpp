#include "framework/run/sensitivity.h"

#include <fmt/format.h>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"

namespace quell {
namespace fs = std::filesystem;
namespace po = boost::program_options;
namespace {

SiteGrouping grouping_from(const std::string& name) {
  for (const auto& [known, value] : EnumNames<SiteGrouping>::values) {
    if (name == known) return value;
  }
  throw ConfigError(fmt::format("--by {}: expected role, layer or site", name));
}

SensitivityOptions options_from(const CommandLine& line, const ExperimentSpec& spec) {
  SensitivityOptions options;
  options.grouping = grouping_from(line.get<std::string>("by"));
  const auto only = line.get<std::string>("only");
  if (!only.empty() && only != "alone" && only != "without") {
    throw ConfigError(fmt::format("--only {}: expected alone or without", only));
  }
  options.alone = only != "without";
  options.without = only != "alone";
  constexpr int64_t kFewest = 2, kMost = 16;
  if (line.has("bits")) options.bits = line.get<std::vector<int64_t>>("bits");
  for (const int64_t bits : options.bits) {
    if (bits >= kFewest && bits <= kMost) continue;
    throw ConfigError(fmt::format("--bits {}: expected {} to {}", bits, kFewest, kMost));
  }
  const fs::path folder = line.has("output") ? fs::path(line.get<std::string>("output"))
                                             : fs::path("runs") / (spec.name + "-sensitivity");
  fs::create_directories(folder);
  options.file = folder / "sensitivity.json";
  return options;
}

// One line per group with the main metric; the first lines are no and all sites.
void print_table(const std::vector<SensitivityRow>& rows, const SensitivityOptions& options,
                 int64_t bits) {
  std::vector<std::vector<std::string>> table = {{"quantized", "sites"}};
  if (options.alone) table[0].push_back("alone");
  if (options.without) table[0].push_back("all others");
  std::map<std::string, size_t> places;
  for (const SensitivityRow& row : rows) {
    if (row.bits != bits || row.metrics.empty()) continue;
    const std::string value = percent(row.metrics[0].second);
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
  if (bits > 0) fmt::print("\n{} bits\n", bits);
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
  line.add()("by", po::value<std::string>()->default_value("role"),
             "what a group is: role (all query outputs, ...), layer or site")(
      "only", po::value<std::string>()->default_value(""), "alone or without: half of the work")(
      "bits", po::value<std::vector<int64_t>>()->multitoken(),
      "bits of all quantized sites, one table each; without: as the rules say")(
      "output", po::value<std::string>(), "folder of sensitivity.json (runs/NAME-sensitivity)")(
      "quiet", "print nothing but the tables")("json", "print the file instead of tables");
  line.positional("experiment", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("experiment");
  if (files.empty()) {
    throw ConfigError("sensitivity needs an experiment file; see `quell sensitivity --help`");
  }
  const ExperimentSpec spec = load_experiment(files[0], line.list("set"), plugins);
  const SensitivityOptions options = options_from(line, spec);
  Log log(line.has("quiet") ? Verbosity::kQuiet : Log::default_verbosity());
  const std::vector<SensitivityRow> rows = measure_sensitivity(spec, options, plugins, log);
  if (line.has("json")) {
    fmt::print("{}", read_file(options.file));
    return 0;
  }
  if (options.bits.empty()) print_table(rows, options, 0);
  for (const int64_t bits : options.bits) print_table(rows, options, bits);
  return 0;
}

}  // namespace quell

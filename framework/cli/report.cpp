#include "framework/sweep/report.h"

#include <fmt/format.h>
#include <sstream>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/suggest.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/sweep/report_format.h"

namespace quell {
namespace {

namespace po = boost::program_options;

// "a, b" -> a, b
std::vector<std::string> names(const CommandLine& line, const std::string& option) {
  std::vector<std::string> result;
  if (!line.has(option)) return result;
  std::istringstream text(line.get<std::string>(option));
  for (std::string name; std::getline(text, name, ',');) {
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    if (!name.empty()) result.push_back(name);
  }
  if (result.empty()) throw ConfigError(fmt::format("--{}: names nothing", option));
  return result;
}

template <class Value>
Value choice(const CommandLine& line, const std::string& option,
             const std::vector<std::pair<std::string, Value>>& values) {
  if (!line.has(option)) return values[0].second;
  const auto& text = line.get<std::string>(option);
  std::vector<std::string> known;
  for (const auto& [name, value] : values) {
    if (name == text) return value;
    known.push_back(name);
  }
  throw ConfigError(fmt::format("--{} {}: unknown{}", option, text, did_you_mean(text, known)));
}

std::string report_text(const ReportTable& report, Spread spread) {
  std::string text = text_table(report_grid(report, spread)) + "\n";
  for (const std::string& note : report_notes(report, spread)) text += note + "\n";
  return text;
}

using Formatter = std::string (*)(const ReportTable&, Spread);

Formatter formatter(const CommandLine& line) {
  return choice<Formatter>(
      line, "format",
      {{"text", report_text},
       {"markdown", report_markdown},
       {"latex", report_latex},
       {"csv", [](const ReportTable& report, Spread) { return report_csv(report); }}});
}

}  // namespace

int run_report(const Plugins&, const Arguments& arguments) {
  CommandLine line(
      "report RUNS... [options]",
      "Puts the metrics of runs into a table. RUNS are run folders, folders of sweeps, or folders "
      "of those.\nKeys are separated by commas: swept ones, any key of an experiment (task.name), "
      "stage, metric, folder.\nRuns that rows and columns do not tell apart are averaged.");
  line.add()("rows", po::value<std::string>(), "keys of the rows; default: what was swept")(
      "columns", po::value<std::string>(), "keys of the columns; default: the last numeric one")(
      "metric", po::value<std::string>(), "metrics, or all; default: the main one of each task")(
      "stage", po::value<std::string>(), "stages, or all; default: quantized")(
      "baseline", po::value<std::string>(),
      "KEY=VALUE: test the others against it, example by example")(
      "spread", po::value<std::string>(), "behind the mean: deviation (default), interval, none")(
      "best", po::value<std::string>(), "bold is the best of each: column (default), row, none")(
      "format", po::value<std::string>(), "text (default), csv, markdown, latex")(
      "output", po::value<std::string>(), "write to this file");
  line.positional("runs", -1);
  if (!line.parse(arguments)) return 0;
  const auto folders = line.list("runs");
  if (folders.empty()) throw ConfigError("report needs run folders; see `quell report --help`");
  ReportOptions options{names(line, "rows"), names(line, "columns"), names(line, "metric"),
                        names(line, "stage")};
  if (line.has("baseline")) options.baseline = line.get<std::string>("baseline");
  options.best = choice<Best>(
      line, "best", {{"column", Best::kColumn}, {"row", Best::kRow}, {"none", Best::kNone}});
  const auto spread = choice<Spread>(line, "spread",
                                     {{"deviation", Spread::kDeviation},
                                      {"interval", Spread::kInterval},
                                      {"none", Spread::kNone}});
  const Formatter format = formatter(line);
  const std::string text = format(make_report(find_runs(folders), options), spread);
  if (line.has("output")) {
    write_file(line.get<std::string>("output"), text);
  } else {
    fmt::print("{}", text);
  }
  return 0;
}

}  // namespace quell

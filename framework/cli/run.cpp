#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/json/json.h"
#include "framework/record/run_folder.h"
#include "framework/run/run.h"

namespace quell {
namespace fs = std::filesystem;
namespace po = boost::program_options;
namespace {

// What the summary shows of one run.
struct Summary {
  std::string name;
  fs::path folder;
  std::vector<std::pair<std::string, Metrics>> stages;
  double size_ratio = 0;
};

EarlierRun earlier_run(const CommandLine& line) {
  if (line.has("resume") && line.has("overwrite")) {
    throw ConfigError("--resume goes on with a stopped run, --overwrite starts anew: use one");
  }
  if (line.has("resume")) return EarlierRun::kResume;
  return line.has("overwrite") ? EarlierRun::kOverwrite : EarlierRun::kRefuse;
}

Summary read_summary(const std::string& name, const fs::path& folder) {
  Summary summary{name, folder, {}, 0};
  read_own_json(folder / "metrics.json", [&](const nlohmann::ordered_json& metrics) {
    summary.size_ratio = metrics.at("model_bytes").at("ratio").get<double>();
    for (const auto& [stage, values] : metrics.at("stages").items()) {
      Metrics found;
      for (const auto& [metric, value] : values.items()) {
        found.emplace_back(metric, value.is_null() ? std::nan("") : value.get<double>());
      }
      summary.stages.emplace_back(stage, std::move(found));
    }
  });
  return summary;
}

Summary run_one(const fs::path& file, const CommandLine& line, bool several,
                const Plugins& plugins) {
  const ExperimentSpec spec = load_experiment(file, line.list("set"), plugins);
  fs::path folder = fs::path("runs") / spec.name;
  if (line.has("output")) {
    folder = line.get<std::string>("output");
    if (several) folder /= spec.name;
  }
  Log log(line.has("quiet") ? Verbosity::kQuiet : Log::default_verbosity());
  log.info(fmt::format("{}: {}", spec.name, file.string()));
  const RunFolderLock lock(folder, log);
  if (prepare_run_folder(folder, to_yaml(to_node(spec)), earlier_run(line))) {
    RunFolders folders{progress_folder(folder), {}};
    if (line.has("cache")) folders.cache = line.get<std::string>("cache");
    const RunRecord record = run_experiment(load_bench(spec, plugins, log), log, folders);
    log.info(fmt::format("results in {}", folder.string()));
    write_run_folder(folder, record, log);
  } else {
    log.info(fmt::format("{} is complete: nothing to resume", folder.string()));
  }
  return read_summary(spec.name, folder);
}

// One row per run and metric, one column per stage.
void print_summary(const std::vector<Summary>& summaries) {
  std::vector<std::vector<std::string>> rows = {{"experiment", "metric"}};
  for (const Summary& summary : summaries) {
    for (const auto& [stage, metrics] : summary.stages) {
      if (std::find(rows[0].begin(), rows[0].end(), stage) == rows[0].end()) {
        rows[0].push_back(stage);
      }
    }
  }
  const size_t first_stage = 2;
  const size_t size_column = rows[0].size();
  rows[0].push_back("smaller");
  for (const Summary& summary : summaries) {
    if (summary.stages.empty()) continue;
    const Metrics& names = summary.stages[0].second;
    for (size_t metric = 0; metric < names.size(); ++metric) {
      std::vector<std::string> row(rows[0].size());
      row[0] = metric == 0 ? summary.name : "";
      row[1] = names[metric].first;
      for (const auto& [stage, metrics] : summary.stages) {
        for (size_t column = first_stage; column < size_column; ++column) {
          if (rows[0][column] == stage)
            row[column] = metric_text(metrics[metric].first, metrics[metric].second);
        }
      }
      if (metric == 0) row[size_column] = fmt::format("{:.2f}x", summary.size_ratio);
      rows.push_back(row);
    }
  }
  fmt::print("\n{}", text_table(rows));
}

nlohmann::ordered_json to_json(const Summary& summary) {
  nlohmann::ordered_json json;
  json["name"] = summary.name;
  json["folder"] = summary.folder.string();
  auto& stages = json["stages"] = nlohmann::ordered_json::object();
  for (const auto& [stage, metrics] : summary.stages) {
    auto& values = stages[stage] = nlohmann::ordered_json::object();
    for (const auto& [name, value] : metrics) values[name] = value;
  }
  json["size_ratio"] = summary.size_ratio;
  return json;
}

}  // namespace

int run_run(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line("run EXPERIMENT... [options]",
                   "Runs experiments one after another and prints a table of their metrics, in "
                   "percent. Each run\nhas a folder: runs/NAME, or where --output says.");
  add_experiment_options(line);
  line.add()("output", po::value<std::string>(),
             "the run folder; with several experiments the folder of their run folders")(
      "overwrite", "replace an earlier run in the folder")(
      "resume", "go on with a run that was stopped; complete ones are left as they are")(
      "cache", po::value<std::string>(),
      "a folder of results that runs have in common: float outputs, steps of pipelines")(
      "quiet", "print nothing but the table")("json", "print the summary as JSON");
  line.positional("experiments", -1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("experiments");
  if (files.empty()) throw ConfigError("run needs an experiment file; see `quell run --help`");
  std::vector<Summary> summaries;
  for (const std::string& file : files) {
    summaries.push_back(run_one(file, line, files.size() > 1, plugins));
  }
  if (line.has("json")) {
    auto list = nlohmann::ordered_json::array();
    for (const Summary& summary : summaries) list.push_back(to_json(summary));
    print_json({{"runs", list}});
  } else {
    print_summary(summaries);
  }
  return 0;
}

}  // namespace quell

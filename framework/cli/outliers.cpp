#include <fmt/format.h>
#include <filesystem>

#include "framework/base/error.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/record/outliers_file.h"
#include "framework/run/run.h"

namespace quell {
namespace fs = std::filesystem;
namespace po = boost::program_options;
namespace {

constexpr int64_t kShownChannels = 4;

// "[SEP] (sep)", or the number of the row where rows are no tokens.
std::string row_text(const OutlierRecord& record, const SiteSummary& site, int64_t row) {
  if (site.rows != RowKind::kTokens && site.rows != RowKind::kTargets) {
    return fmt::format("{} {}", to_string(site.rows), row);
  }
  const CalibrationTokens& all = record.tokens;
  const TokenColumns& side = site.rows == RowKind::kTokens ? all.tokens : all.targets;
  const std::string& text = all.entry(side.ids[row]).text;
  return fmt::format("{} ({})", text.empty() ? std::to_string(side.ids[row]) : text,
                     to_string(side.kinds[row]));
}

std::string channels_text(const SiteSummary& site) {
  std::string text;
  for (const int64_t channel : site.top_channels(kShownChannels)) {
    text += fmt::format("{}{}", text.empty() ? "" : " ", channel);
  }
  return text;
}

void print_stage(const OutlierRecord& record, const OutlierStage& stage,
                 const std::vector<Site>& sites) {
  const std::vector<double>& sigmas = record.options.sigmas;
  std::vector<std::string> header = {"activation", "min", "max", "std", "max/std", "kurtosis"};
  for (const double sigma : sigmas) header.push_back(fmt::format(">{:g} std", sigma));
  header.insert(header.end(), {"channels", "furthest row"});
  std::vector<std::vector<std::string>> rows = {header};
  for (const auto& [id, site] : stage.sites) {
    std::vector<std::string> row = {sites[id].name,
                                    fmt::format("{:.2f}", site.all.min),
                                    fmt::format("{:.2f}", site.all.max),
                                    fmt::format("{:.3f}", site.deviation()),
                                    fmt::format("{:.1f}", site.reach(site.all)),
                                    fmt::format("{:.1f}", site.all.kurtosis())};
    for (const int64_t count : site.beyond) row.push_back(fmt::format("{}", count));
    row.push_back(channels_text(site));
    row.push_back(site.extremes.empty() ? "" : row_text(record, site, site.extremes[0].row));
    rows.push_back(row);
  }
  fmt::print("{}", text_table(rows));
}

}  // namespace

int run_outliers(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line("outliers EXPERIMENT [options]",
                   "Looks at the activations of an experiment's float model over its calibration "
                   "set: writes their\nstatistics to outliers.h5 and prints a table. Nothing is "
                   "quantized or evaluated.");
  add_experiment_options(line);
  line.add()("output", po::value<std::string>(),
             "the file to write; without it runs/NAME/outliers.h5")(
      "overwrite", "replace an earlier file")("quiet", "print nothing but the table");
  line.positional("experiment", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("experiment");
  if (files.empty()) {
    throw ConfigError("outliers needs an experiment file; see `quell outliers --help`");
  }
  ExperimentSpec spec = load_experiment(files[0], line.list("set"), plugins);
  if (!spec.record.outliers) spec.record.outliers.emplace();
  const fs::path path = line.has("output") ? fs::path(line.get<std::string>("output"))
                                           : fs::path("runs") / spec.name / "outliers.h5";
  if (fs::exists(path) && !line.has("overwrite")) {
    throw ConfigError(fmt::format(
        "{}: exists already; use --overwrite to replace it, or --output to write elsewhere",
        path.string()));
  }
  std::error_code ignored;  // writing will tell
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), ignored);
  Log log(line.has("quiet") ? Verbosity::kQuiet : Log::default_verbosity());
  const RunRecord run = run_outliers(load_bench(spec, plugins, log), log);
  write_outliers_file(path, run);
  log.info(fmt::format("results in {}", path.string()));
  print_stage(*run.outliers, run.outliers->stages[0], run.sites);
  return 0;
}

}  // namespace quell

#include <fmt/format.h>
#include <cmath>
#include <filesystem>
#include <set>

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

// The text of a token, or its id without a tokenizer.
std::string token_text(const OutlierRecord& record, int64_t id) {
  const std::string& text = record.tokens.entry(id).text;
  return text.empty() ? std::to_string(id) : text;
}

// "[SEP] (sep)", or the number of the row where rows are no tokens.
std::string row_text(const OutlierRecord& record, const SiteSummary& site, int64_t row) {
  if (site.rows != RowKind::kTokens && site.rows != RowKind::kTargets) {
    return fmt::format("{} {}", to_string(site.rows), row);
  }
  const CalibrationTokens& all = record.tokens;
  const TokenColumns& side = site.rows == RowKind::kTokens ? all.tokens : all.targets;
  return fmt::format("{} ({})", token_text(record, side.ids[row]), to_string(side.kinds[row]));
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

// What the embeddings and each layer hand on: the largest value, and those of other channels.
void print_hidden_states(const OutlierRecord& record,
                         const std::vector<HiddenStateSummary>& states) {
  std::vector<std::vector<std::string>> rows = {
      {"behind", "median |x|", "largest", "/ median", "channel", "position", "token", "then"}};
  for (const HiddenStateSummary& state : states) {
    const LargeValue& first = state.largest.front();
    std::string others;
    std::set<int64_t> shown = {first.channel};
    for (const LargeValue& value : state.largest) {
      if (std::ssize(shown) == kShownChannels || !shown.insert(value.channel).second) continue;
      others +=
          fmt::format("{}{:.4g} in {}", others.empty() ? "" : ", ", value.value, value.channel);
    }
    const auto row = static_cast<size_t>(first.row);
    const TokenColumns& tokens = record.tokens.tokens;
    rows.push_back(
        {state.segment, fmt::format("{:.3g}", state.median), fmt::format("{:.5g}", first.value),
         fmt::format("{:.0f}", std::abs(first.value) / state.median), std::to_string(first.channel),
         std::to_string(tokens.positions[row]), token_text(record, tokens.ids[row]), others});
  }
  if (!states.empty()) fmt::print("\n{}", text_table(rows));
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
  print_hidden_states(*run.outliers, run.hidden_states);
  return 0;
}

}  // namespace quell

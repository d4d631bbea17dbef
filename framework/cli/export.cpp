#include "framework/export/export.h"

#include <fmt/format.h>
#include <filesystem>

#include "framework/base/error.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/verb.h"

namespace quell {
namespace fs = std::filesystem;
namespace po = boost::program_options;
namespace {

std::string description() {
  std::string text =
      "Runs the pipeline of an experiment, or of the one that a run's folder holds, and writes "
      "the\n"
      "network behind it to a folder. Formats:";
  for (const ExportFormat& format : export_formats()) {
    text += fmt::format("\n  {:<20} {}", format.name, format.summary);
  }
  return text;
}

}  // namespace

int run_export(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line("export EXPERIMENT|RUN --format NAME [options]", description());
  add_experiment_options(line);
  line.add()("format", po::value<std::string>(), "the format")(
      "output", po::value<std::string>(), "the folder; without: exports/NAME of the experiment")(
      "overwrite", "replace the folder if it exists")("quiet", "print nothing");
  line.positional("experiment", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("experiment");
  if (files.empty() || !line.has("format")) {
    throw ConfigError(
        "export needs an experiment file or a run's folder, and --format; see `quell export "
        "--help`");
  }
  const ExportFormat& format = find_export_format(line.get<std::string>("format"));
  const ExperimentSpec spec = load_experiment_or_run(files[0], line, plugins);
  const fs::path folder = line.has("output") ? fs::path(line.get<std::string>("output"))
                                             : fs::path("exports") / spec.name;
  Log log(line.has("quiet") ? Verbosity::kQuiet : Log::default_verbosity());
  export_network(spec, format, folder, line.has("overwrite"), plugins, log);
  log.info(fmt::format("{} in {}", format.name, folder.string()));
  return 0;
}

}  // namespace quell

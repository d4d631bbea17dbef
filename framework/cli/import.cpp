#include <fmt/format.h>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/import/outlier_suppression.h"

namespace quell {
namespace fs = std::filesystem;
namespace po = boost::program_options;
namespace {

void write_experiment(const fs::path& output, const std::string& yaml, bool overwrite) {
  if (fs::is_regular_file(output) && !overwrite) {
    throw ConfigError(fmt::format("{} exists already; choose another --output, or say --overwrite",
                                  output.string()));
  }
  write_file(output, yaml);
}

nlohmann::ordered_json notes_json(const ImportNotes& notes) {
  auto list = nlohmann::ordered_json::array();
  for (const ImportNote& note : notes) {
    list.push_back({{"kind", to_string(note.kind)}, {"text", note.text}});
  }
  return list;
}

}  // namespace

int run_import(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line(
      "import CONFIG [--output FILE] [options]",
      "Turns a configuration file of the published code of \"Outlier Suppression\" into an "
      "experiment.\nWhat it could not take over is listed on standard error.");
  line.add()("output", po::value<std::string>(), "write the experiment there")(
      "overwrite", "replace that file")("model", po::value<std::string>()->default_value(""),
                                        "model folder")(
      "data", po::value<std::string>()->default_value(""), "folder with the files of the task")(
      "json", "print the experiment and the list as JSON");
  line.positional("config", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("config");
  if (files.empty()) {
    throw ConfigError("import needs a configuration file; see `quell import --help`");
  }
  ImportOptions options{line.get<std::string>("model"), line.get<std::string>("data"),
                        plugins.models.names()};
  const ImportedExperiment imported = import_outlier_suppression(files[0], options);
  if (line.has("output")) {
    write_experiment(line.get<std::string>("output"), imported.yaml, line.has("overwrite"));
  }
  if (line.has("json")) {
    print_json({{"experiment", imported.yaml}, {"notes", notes_json(imported.notes)}});
    return 0;
  }
  if (!line.has("output")) fmt::print("{}", imported.yaml);
  fmt::print(stderr, "{}", to_text(imported.notes));
  return 0;
}

}  // namespace quell

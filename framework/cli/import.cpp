#include <fmt/format.h>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/import/outlier_suppression.h"
#include "framework/import/outlier_suppression_plus.h"
#include "framework/import/qualcomm.h"
#include "framework/import/qualcomm_command.h"

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

// A command, a file with one, or a configuration file.
ImportedExperiment import_source(const std::vector<std::string>& source,
                                 const ImportOptions& options) {
  if (source.empty()) {
    throw ConfigError(
        "import needs a configuration file, or a command behind `--`; see `quell import --help`");
  }
  if (published::is_qualcomm_command(source)) return import_qualcomm(source, options);
  if (source.size() > 1) {
    throw ConfigError(
        fmt::format("import takes one file, or a command of the published code such as `-- main.py "
                    "validate-quantized --qmethod symmetric_uniform`; found {} ...",
                    source[0]));
  }
  const fs::path file = source[0];
  if (fs::is_regular_file(file) && file.extension() != ".yaml" && file.extension() != ".yml") {
    try {
      const auto words = published::shell_words(read_file(file));
      if (published::is_qualcomm_command(words)) return import_qualcomm(words, options);
    } catch (const ConfigError& error) {
      throw ConfigError(fmt::format("{}: {}", file.string(), error.what()));
    }
  }
  return is_outlier_suppression_plus(file) ? import_outlier_suppression_plus(file, options)
                                           : import_outlier_suppression(file, options);
}

}  // namespace

int run_import(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line(
      "import FILE [--output FILE] [options]\n"
      "       quell import [--output FILE] [options] -- main.py validate-quantized ...",
      "Turns published settings into an experiment: a configuration file of \"Outlier "
      "Suppression\" or\n\"Outlier Suppression+\", or a command of \"Understanding and Overcoming "
      "the Challenges of Efficient\nTransformer Quantization\" (or a file with one).\nWhat it "
      "could not take over is listed on standard "
      "error.");
  line.add()("output", po::value<std::string>(), "write the experiment there")(
      "overwrite", "replace that file")("model", po::value<std::string>()->default_value(""),
                                        "model folder")(
      "data", po::value<std::string>()->default_value(""), "folder with the files of the task")(
      "json", "print the experiment and the list as JSON");
  line.positional("source", -1);
  if (!line.parse(arguments)) return 0;
  const ImportOptions options{line.get<std::string>("model"), line.get<std::string>("data"),
                              plugins.models.names()};
  const ImportedExperiment imported = import_source(line.list("source"), options);
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

#include "tasks/data/glue_files.h"

#include <fmt/format.h>

#include "framework/base/error.h"
#include "tasks/data/data_files.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

SplitNames names_of(const GlueSpec& spec, std::vector<std::string> stems) {
  return {std::move(stems), {".tsv", ".jsonl", ".json", ".csv", ".parquet"}, {spec.name}};
}

void check_folder(const GlueLocation& location) {
  std::error_code ignored;
  if (location.folder.empty()) {
    throw ConfigError("task.path: name the folder of the data, or task.dev_file");
  }
  if (!fs::is_directory(location.folder, ignored)) {
    throw DataError(fmt::format("task.path: {}: no such folder", location.folder.string()));
  }
}

[[noreturn]] void no_file(const GlueSpec& spec, const GlueLocation& location,
                          const std::string& split, const std::string& names,
                          const std::string& way_out) {
  throw DataError(fmt::format("{}: no {} file for {}: looked for {}; {}", location.folder.string(),
                              split, spec.name, names, way_out));
}

}  // namespace

fs::path find_train_file(const GlueSpec& spec, const GlueLocation& location) {
  if (!location.train_file.empty()) {
    return find_given_file(location.folder, location.train_file, "task.train_file");
  }
  const SplitNames names = names_of(spec, {"train"});
  if (const auto found = find_split(location.folder, names)) return *found;
  no_file(spec, location, "train", names.text(),
          "calibrate on the evaluation data with `calibration: {split: dev}`, or on a file of "
          "yours with `calibration: {file: ...}`");
}

std::vector<GlueSet> find_dev_files(const GlueSpec& spec, const GlueLocation& location) {
  const bool two_sets = spec.name == "mnli";
  const std::string& mismatched_file = location.dev_mismatched_file;
  if (!two_sets && !mismatched_file.empty()) {
    throw ConfigError(
        fmt::format("task.dev_mismatched_file: only mnli has one, not {}", spec.name));
  }
  const std::string first = two_sets ? "dev_matched" : "dev";
  std::vector<GlueSet> sets;
  if (!location.dev_file.empty()) {
    sets.push_back({first, find_given_file(location.folder, location.dev_file, "task.dev_file")});
  }
  if (!mismatched_file.empty()) {
    sets.push_back({"dev_mismatched",
                    find_given_file(location.folder, mismatched_file, "task.dev_mismatched_file")});
  }
  if (!sets.empty()) return sets;
  check_folder(location);
  const SplitNames names =
      two_sets ? names_of(spec, {"dev_matched", "validation_matched", "dev", "validation"})
               : names_of(spec, {"dev", "validation"});
  std::string looked_for = names.text();
  if (const auto file = find_split(location.folder, names)) sets.push_back({first, *file});
  if (two_sets) {
    const SplitNames mismatched = names_of(spec, {"dev_mismatched", "validation_mismatched"});
    if (const auto file = find_split(location.folder, mismatched)) {
      sets.push_back({"dev_mismatched", *file});
    }
    looked_for += ", " + mismatched.text();
  }
  if (sets.empty()) no_file(spec, location, first, looked_for, "name one with `task.dev_file`");
  return sets;
}

}  // namespace quell

#include "tasks/data/glue_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <optional>

#include "framework/base/error.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

std::vector<std::string> candidates(const std::vector<std::string>& stems) {
  std::vector<std::string> names;
  for (const std::string& stem : stems) {
    for (const char* ending : {".tsv", ".jsonl", ".json"}) names.push_back(stem + ending);
  }
  return names;
}

std::optional<fs::path> first_existing(const fs::path& folder,
                                       const std::vector<std::string>& names) {
  std::error_code ignored;
  for (const std::string& name : names) {
    if (fs::is_regular_file(folder / name, ignored)) return folder / name;
  }
  return std::nullopt;
}

fs::path given_file(const GlueLocation& location, const std::string& name, const std::string& key) {
  std::error_code ignored;
  for (const fs::path& place : {location.folder / name, fs::path(name)}) {
    if (fs::is_regular_file(place, ignored)) return place;
  }
  throw DataError(
      fmt::format("task.{}: no file \"{}\", neither in \"{}\" nor in the working "
                  "directory",
                  key, name, location.folder.string()));
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
                          const std::vector<std::string>& names, const std::string& way_out) {
  throw DataError(fmt::format("{}: no {} file for {}: looked for {}; {}", location.folder.string(),
                              names.front().substr(0, names.front().find('.')), spec.name,
                              fmt::join(names, ", "), way_out));
}

}  // namespace

fs::path find_train_file(const GlueSpec& spec, const GlueLocation& location) {
  if (!location.train_file.empty()) {
    return given_file(location, location.train_file, "train_file");
  }
  const auto names = candidates({"train"});
  if (const auto found = first_existing(location.folder, names)) return *found;
  no_file(spec, location, names,
          "calibrate on the evaluation data with `calibration: {split: dev}`, or on a file of "
          "yours with `calibration: {file: ...}`");
}

std::vector<GlueSet> find_dev_files(const GlueSpec& spec, const GlueLocation& location) {
  const bool two_sets = spec.name == "mnli";
  if (!two_sets && !location.dev_mismatched_file.empty()) {
    throw ConfigError(
        fmt::format("task.dev_mismatched_file: only mnli has one, not {}", spec.name));
  }
  std::vector<GlueSet> sets;
  if (!location.dev_file.empty()) {
    sets.push_back(
        {two_sets ? "dev_matched" : "dev", given_file(location, location.dev_file, "dev_file")});
  }
  if (!location.dev_mismatched_file.empty()) {
    sets.push_back({"dev_mismatched",
                    given_file(location, location.dev_mismatched_file, "dev_mismatched_file")});
  }
  if (!sets.empty()) return sets;
  check_folder(location);
  auto names = two_sets ? candidates({"dev_matched", "validation_matched", "dev", "validation"})
                        : candidates({"dev", "validation"});
  if (const auto file = first_existing(location.folder, names)) {
    sets.push_back({two_sets ? "dev_matched" : "dev", *file});
  }
  if (two_sets) {
    const auto mismatched = candidates({"dev_mismatched", "validation_mismatched"});
    if (const auto file = first_existing(location.folder, mismatched)) {
      sets.push_back({"dev_mismatched", *file});
    }
    names.insert(names.end(), mismatched.begin(), mismatched.end());
  }
  if (sets.empty()) no_file(spec, location, names, "name one with `task.dev_file`");
  return sets;
}

}  // namespace quell

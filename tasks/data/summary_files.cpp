#include "tasks/data/summary_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <vector>

#include "framework/base/error.h"

namespace quell {
namespace fs = std::filesystem;

fs::path find_summary_file(const fs::path& folder, const std::string& given,
                           const std::string& split) {
  std::error_code ignored;
  const auto is_file = [&](const fs::path& path) { return fs::is_regular_file(path, ignored); };
  if (!given.empty()) {
    for (const fs::path& place : {folder / given, fs::path(given)}) {
      if (is_file(place)) return place;
    }
    throw DataError(
        fmt::format("task.{}_file: no file \"{}\", neither in \"{}\" nor in the working "
                    "directory",
                    split, given, folder.string()));
  }
  if (folder.empty()) {
    throw ConfigError(
        fmt::format("task.path: name the folder of the data, or task.{}_file", split));
  }
  std::vector<std::string> names;
  const std::vector<std::string> stems = split == "train"
                                             ? std::vector<std::string>{"train"}
                                             : std::vector<std::string>{"validation", "val", "dev"};
  for (const std::string& stem : stems) {
    for (const char* ending : {".jsonl", ".json", ".csv"}) {
      names.push_back(stem + ending);
      if (is_file(folder / names.back())) return folder / names.back();
    }
  }
  throw DataError(fmt::format(
      "{}: no {} file: looked for {}; name it with task.{}_file{}", folder.string(), split,
      fmt::join(names, ", "), split,
      split == "train" ? ", or calibrate on the evaluation data with `calibration: {split: dev}`"
                       : ""));
}

}  // namespace quell

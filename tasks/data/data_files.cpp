#include "tasks/data/data_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "framework/base/error.h"

namespace quell {
namespace fs = std::filesystem;

fs::path find_data_file(const fs::path& folder, const std::string& given, const std::string& split,
                        const std::vector<std::string>& names) {
  std::error_code ignored;
  if (!given.empty()) {
    for (const fs::path& place : {folder / given, fs::path(given)}) {
      if (fs::is_regular_file(place, ignored)) return place;
    }
    throw DataError(
        fmt::format("task.{}_file: no file \"{}\", neither in \"{}\" nor in the working directory",
                    split, given, folder.string()));
  }
  if (folder.empty()) {
    throw ConfigError(
        fmt::format("task.path: name the folder of the data, or task.{}_file", split));
  }
  for (const std::string& name : names) {
    if (fs::is_regular_file(folder / name, ignored)) return folder / name;
  }
  throw DataError(fmt::format(
      "{}: no {} file: looked for {}; name it with task.{}_file{}", folder.string(), split,
      fmt::join(names, ", "), split,
      split == "train" ? ", or calibrate on the evaluation data with `calibration: {split: dev}`"
                       : ""));
}

}  // namespace quell

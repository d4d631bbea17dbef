// Apart from what writes the index, which needs the rest of the engine: it is fuzzed.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/json/json.h"
#include "framework/sweep/index.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

// The index may come from anywhere: a folder in it must not lead out of the sweep's.
std::string folder_name(const fs::path& file, const std::string& name) {
  if (is_plain_name(name)) return name;
  throw DataError(fmt::format("{}: folder \"{}\" of a cell is not the name of a folder beside it",
                              file.string(), name));
}

}  // namespace

SweepIndex read_sweep_index(const fs::path& output) {
  const fs::path file = output / kSweepIndex;
  SweepIndex index;
  read_own_json(file, [&](const nlohmann::ordered_json& root) {
    if (root.at("format") != "quell sweep" || root.at("version") != 1) {
      throw DataError(
          fmt::format("{}: is no index of a sweep that this quell reads", file.string()));
    }
    index.name = root.at("name");
    index.axes = root.at("axes").get<std::vector<std::vector<std::string>>>();
    for (const auto& entry : root.at("cells")) {
      IndexedCell cell{output / folder_name(file, entry.at("folder").get<std::string>()),
                       {},
                       entry.at("fingerprint")};
      for (const auto& [key, value] : entry.at("settings").items()) {
        cell.settings.emplace_back(key, value);
      }
      index.cells.push_back(std::move(cell));
    }
  });
  return index;
}

}  // namespace quell

#include "framework/config/paths.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

namespace quell {
namespace {

namespace fs = std::filesystem;

fs::path built_in_experiments() {
  const char* folder = std::getenv("QUELL_EXPERIMENTS");
  return folder && *folder ? folder : QUELL_EXPERIMENTS_FOLDER;
}

bool is_kind(const fs::path& place, PathKind kind) {
  std::error_code ignored;
  if (kind == PathKind::kFile)
    return fs::exists(place, ignored) && !fs::is_directory(place, ignored);
  if (kind == PathKind::kFolder) return fs::is_directory(place, ignored);
  return fs::exists(place, ignored);
}

const char* name_of(PathKind kind) {
  if (kind == PathKind::kFile) return "file";
  return kind == PathKind::kFolder ? "folder" : "file or folder";
}

}  // namespace

std::vector<fs::path> search_places(const fs::path& value, const Mark& mark) {
  if (value.is_absolute()) return {value.lexically_normal()};
  std::vector<fs::path> places;
  for (const fs::path& folder : {mark.folder(), fs::path(), built_in_experiments()}) {
    const fs::path place = (folder / value).lexically_normal();
    if (std::find(places.begin(), places.end(), place) == places.end()) places.push_back(place);
  }
  return places;
}

std::optional<fs::path> resolve_path(const ConfigNode& node, const std::string& path, PathKind kind,
                                     Problems& problems) {
  if (node.text.empty()) {
    problems.add(node.mark, path, "must not be empty");
    return {};
  }
  const std::vector<fs::path> places = search_places(node.text, node.mark);
  for (const fs::path& place : places) {
    if (is_kind(place, kind)) return place;
  }
  for (const fs::path& place : places) {
    if (is_kind(place, PathKind::kAny)) {
      problems.add(node.mark, path,
                   fmt::format("expected a {}, found a {}: {}", name_of(kind),
                               kind == PathKind::kFile ? "folder" : "file", place.string()));
      return {};
    }
  }
  std::vector<std::string> texts;
  for (const fs::path& place : places) texts.push_back(place.string());
  problems.add(
      node.mark, path,
      fmt::format("no {} {}; looked for {}", name_of(kind), node.found(), fmt::join(texts, ", ")));
  return {};
}

}  // namespace quell

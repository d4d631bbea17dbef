// Finding files that a configuration names.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/node.h"
#include "framework/config/problems.h"

namespace quell {

enum class PathKind { kAny, kFile, kFolder };

// Where a relative path is looked for, in this order: the folder of the file that says it, the
// working directory, and the experiments that come with quell (environment variable
// QUELL_EXPERIMENTS, or the folder of the source tree). For a value of `--set`: the working
// directory and those experiments.
std::vector<std::filesystem::path> search_places(const std::filesystem::path& value,
                                                 const Mark& mark);

// The first of these places that exists and is of that kind. Otherwise adds a problem that lists
// where it looked, and returns nothing.
std::optional<std::filesystem::path> resolve_path(const ConfigNode& node, const std::string& path,
                                                  PathKind kind, Problems& problems);

}  // namespace quell

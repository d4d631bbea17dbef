// Options of the verbs that quantize groups of sites alone.
#pragma once

#include <fmt/format.h>
#include <filesystem>
#include <string>

#include "framework/base/error.h"
#include "framework/cli/verb.h"
#include "framework/run/sensitivity.h"

namespace quell {

inline void add_sensitivity_options(CommandLine& line, const std::string& by,
                                    const std::string& folder) {
  namespace po = boost::program_options;
  line.add()("by", po::value<std::string>()->default_value(by),
             "what a group is: role (all query outputs, ...), layer or site")(
      "output", po::value<std::string>(),
      fmt::format("folder of sensitivity.json (runs/NAME-{})", folder).c_str());
}

// Of both; makes the folder. Throws ConfigError.
inline SensitivityOptions sensitivity_options(const CommandLine& line, const ExperimentSpec& spec,
                                              const std::string& folder) {
  SensitivityOptions options;
  const auto by = line.get<std::string>("by");
  bool known = false;
  for (const auto& [name, grouping] : EnumNames<SiteGrouping>::values) {
    if (by != name) continue;
    options.grouping = grouping;
    known = true;
  }
  if (!known) throw ConfigError(fmt::format("--by {}: expected role, layer or site", by));
  const std::filesystem::path place =
      line.has("output") ? std::filesystem::path(line.get<std::string>("output"))
                         : std::filesystem::path("runs") / fmt::format("{}-{}", spec.name, folder);
  std::filesystem::create_directories(place);
  options.file = place / "sensitivity.json";
  return options;
}

}  // namespace quell

// Options of the verbs that take an experiment.
#pragma once

#include <filesystem>
#include <string>

#include "framework/cli/verb.h"
#include "framework/run/experiment.h"

namespace quell {

inline void add_experiment_options(CommandLine& line) {
  line.add()("set", boost::program_options::value<std::vector<std::string>>()->composing(),
             "override a key: --set quant.rules[0].bits=4 (repeatable)");
}

// The experiment of a file, or the one that a run's folder holds, with the overrides of `line`.
inline ExperimentSpec load_experiment_or_run(const std::filesystem::path& place,
                                             const CommandLine& line, const Plugins& plugins) {
  const bool is_run = std::filesystem::is_directory(place);
  return load_experiment(is_run ? place / "config.resolved.yaml" : place, line.list("set"),
                         plugins);
}

}  // namespace quell

// Options of the verbs that take an experiment.
#pragma once

#include "framework/cli/verb.h"

namespace quell {

inline void add_experiment_options(CommandLine& line) {
  line.add()("set", boost::program_options::value<std::vector<std::string>>()->composing(),
             "override a key: --set quant.rules[0].bits=4 (repeatable)");
}

}  // namespace quell

// Settings for groups of sites under a budget: the choice that loses least, if what groups lose
// when they are quantized alone adds up.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/base/log.h"
#include "framework/run/sensitivity.h"

namespace quell {

// What one group may take.
struct AllocationChoice {
  double loss = 0;
  int64_t cost = 0;
};

// For each group the index of a choice, so that the sum of losses is the smallest whose sum of
// costs is at most `budget`; the cheapest of equals. Exact (multiple-choice knapsack, by dominance:
// Nemhauser, Ullmann 1969). Throws ConfigError naming the smallest possible cost where no choice
// fits.
std::vector<size_t> allocate(const std::vector<std::vector<AllocationChoice>>& groups,
                             int64_t budget);

struct AllocationOptions {
  SensitivityOptions sensitivity;  // grouping, sites, settings, file; `without` is not needed
  std::string metric;              // empty: the main one of the task
  // Of codes and scales of these sites together: in bytes, or in bits for each value of their
  // weights.
  double budget_bytes = 0;
  double average_bits = 0;
  std::filesystem::path experiment;  // that is written with the rules that were found
};

struct Allocation {
  struct Group {
    std::string name;
    std::string setting;
    double loss = 0;  // of the metric, alone
    int64_t bytes = 0;
  };
  std::vector<Group> groups;
  std::string metric;
  int64_t bytes = 0, budget_bytes = 0;
  double float_value = 0;
  double predicted = 0;  // the float value less the losses of all groups
  double measured = 0;   // with the allocation in place
};

// Measures what is missing in the sensitivity file, chooses, writes the experiment, and measures
// what comes out with these sites quantized and all others in float. Throws ConfigError where no
// choice meets the budget.
Allocation allocate_settings(const ExperimentSpec& spec, const AllocationOptions& options,
                             const Plugins& plugins, Log& log);

}  // namespace quell

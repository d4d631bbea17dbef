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
// Nemhauser, Ullmann 1969). Throws ConfigError naming the smallest possible cost, in `unit`, where
// no choice fits.
std::vector<size_t> allocate(const std::vector<std::vector<AllocationChoice>>& groups,
                             int64_t budget, const std::string& unit);

// What a budget is made of.
enum class BudgetKind {
  kBytes,          // of codes, scales and zero points of the sites together
  kAverageBits,    // the same, in bits for each value of their weights
  kBitOperations,  // of one row in each linear that has one of the sites; see bit_operations.h
};

struct AllocationOptions {
  SensitivityOptions sensitivity;  // grouping, sites, settings, file; `without` is not needed
  std::string metric;              // empty: the main one of the task
  BudgetKind kind = BudgetKind::kBytes;
  double budget = 0;
  std::filesystem::path experiment;  // that is written with the rules that were found
};

struct Allocation {
  struct Group {
    std::string name;
    std::string setting;
    double loss = 0;  // of the metric, alone
    int64_t cost = 0;
  };
  std::vector<Group> groups;
  std::string metric;
  std::string unit;  // of costs: "bytes" or "bit operations"
  int64_t cost = 0, budget = 0;
  double float_value = 0;
  double predicted = 0;  // the float value less the losses of all groups
  double measured = 0;   // with the allocation in place
};

// Measures what is missing in the sensitivity file, chooses, writes the experiment, and measures
// what comes out with these sites quantized and all others in float. Sites without a choice have
// the bits of the experiment's rules, where bit operations are counted. Throws ConfigError where no
// choice meets the budget, and where weight and input of a linear are in different groups, since
// their bit operations do not add up.
Allocation allocate_settings(const ExperimentSpec& spec, const AllocationOptions& options,
                             const Plugins& plugins, Log& log);

}  // namespace quell

#include "tests/benchmarks/support/goals.h"

#include <fmt/format.h>
#include <algorithm>

#include "tests/benchmarks/support/paired.h"

namespace quell::benchmarks {
namespace {

enum class Regime { kHot, kCold };

struct Goal {
  const char* name;
  const char* operation;
  const char* baseline;
  double at_least;  // baseline / own
  Regime regime = Regime::kHot;
  int64_t bits = 0;  // 0: any
};

// Performance notes, 4.1, columns of the CPU. "At most 1.05 times a copy" is a ratio of 1 / 1.05.
constexpr Goal kGoals[] = {
    {"G1", "tensor", "copy", 1 / 1.05},
    {"G1", "tensor", "copy", 1 / 1.05, Regime::kCold},
    {"G1", "tensor", "copy_", 1 / 0.7, Regime::kCold},
    {"G1", "tensor", "published", 10},
    {"G1", "tensor", "aten", 12},
    {"G2", "channel_rows", "published", 15},
    {"G2", "channel_rows", "aten", 12},
    {"G2", "channel_columns", "published", 15},
    {"G2", "channel_columns", "aten", 12},
    {"G2", "groups", "published", 15},
    {"G2", "groups", "aten", 12},
    {"G2", "embedding_groups", "published", 15},
    {"G2", "embedding_groups", "aten", 12},
    {"G3", "rows_dynamic", "copy", 1 / 1.15},
    {"G3", "rows_dynamic", "published", 15},
    {"G5", "lsq_plus_tensor", "published", 20},
    {"G5", "lsq_plus_tensor", "aten", 18},
    {"G5", "lsq_plus_rows", "published", 20},
    {"G5", "lsq_plus_rows", "aten", 18},
    {"G6", "min_max_tensor", "published", 4},
    {"G6", "min_max_tensor", "aten", 1.6},
    {"G6", "min_max_columns", "published", 4},
    {"G6", "min_max_columns", "aten", 1.6},
    {"G6", "min_max_rows", "published", 4},
    {"G6", "min_max_rows", "aten", 1.6},
    {"G7", "token_clipping", "published", 100},
    {"G9", "mse_1d", "published", 90},
    {"G9", "mse_1d_candidate", "published", 500},
    {"G10", "mse_2d", "published", 1500, Regime::kHot, 8},
    {"G16", "statistics", "read", 0.8},
    {"G16", "statistics", "aten", 10},
};

const char* verdict(const std::vector<double>& ratios, double at_least) {
  if (*std::min_element(ratios.begin(), ratios.end()) >= at_least) return "met";
  return median(ratios) >= at_least ? "met by the median" : "missed";
}

}  // namespace

void print_goals(const std::vector<Measured>& measured) {
  bool any = false;
  for (const Goal& goal : kGoals) {
    std::vector<double> ratios;
    for (const Measured& one : measured) {
      const bool here = one.operation == goal.operation && one.baseline == goal.baseline &&
                        one.cold == (goal.regime == Regime::kCold) &&
                        (goal.bits == 0 || one.bits == goal.bits);
      if (here) ratios.push_back(one.ratio);
    }
    if (ratios.empty()) continue;
    if (!any) {
      fmt::print("\n{:<5} {:<18} {:<5} {:<10} {:>9} {:>9} {:>9} {:>9}\n", "goal", "operation", "",
                 "against", "at least", "median", "least", "most");
    }
    any = true;
    const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
    fmt::print("{:<5} {:<18} {:<5} {:<10} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f}  {}\n", goal.name,
               goal.operation, goal.regime == Regime::kCold ? "cold" : "hot", goal.baseline,
               goal.at_least, median(ratios), *least, *most, verdict(ratios, goal.at_least));
  }
}

}  // namespace quell::benchmarks

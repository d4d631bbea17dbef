// What the kernels are to reach, as ratios to a baseline measured in the same process.
#pragma once

#include <string>
#include <vector>

namespace quell::benchmarks {

// One comparison that was measured.
struct Measured {
  std::string operation;  // the first part of the benchmark's name
  std::string shape;
  int64_t bits = 0;
  bool cold = false;
  std::string baseline;
  double ratio = 0, low = 0, high = 0;
};

// Prints for each goal on these operations the ratios that were measured, the median over shapes
// (and bits) with the least and the largest, and whether all, or only the median, reach it.
void print_goals(const std::vector<Measured>& measured);

}  // namespace quell::benchmarks

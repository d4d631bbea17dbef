// What a benchmark ran on.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace quell::benchmarks {

// Name and value: processor, cores, instruction set, load, revision of the sources, LibTorch, ...
std::vector<std::pair<std::string, std::string>> environment();

// What the whole machine did since it started, in ticks of /proc/stat. Zero where there is none.
struct ProcessorTicks {
  double all = 0;
  double stolen = 0;  // by the hypervisor, for others
};
ProcessorTicks processor_ticks();

// The load average of the last minute; 0 where it is unknown.
double load_average();

// Prints what copying and reading reach here at several sizes: what every other figure is to be
// compared with.
void print_bandwidth();

}  // namespace quell::benchmarks

#include "tests/benchmarks/support/report.h"

#include <fmt/format.h>
#include <algorithm>
#include <cstdio>
#include <sstream>

#include "tests/benchmarks/support/environment.h"

namespace quell::benchmarks {
namespace {

constexpr const char* kBaselines[] = {"copy", "read", "copy_", "aten", "published"};

// name/shape[/bits]/regime
Measured parsed(const std::string& name) {
  Measured result;
  std::istringstream parts(name);
  std::string part;
  for (int i = 0; std::getline(parts, part, '/'); ++i) {
    if (i == 0) result.operation = part;
    if (i == 1) result.shape = part;
    if (part.ends_with("bit")) result.bits = std::stoi(part);
    if (part == "cold") result.cold = true;
  }
  return result;
}

}  // namespace

bool Table::ReportContext(const Context&) {
  fmt::print(
      "\nown: median time of one call. Then time of the baseline / time of own (above 1 own is "
      "faster),\nmedian over rounds own-baseline-baseline-own, with its 95 % interval.\n\n"
      "{:<44} {:>11} {:>7}\n",
      "", "own [us]", "GB/s");
  return true;
}

void Table::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) report(run);
  std::fflush(stdout);
}

void Table::report(const Run& run) {
  const std::string& name = run.run_name.function_name;
  if (run.error_occurred) {
    ++errors_;
    fmt::print("{:<44} {}\n", name, run.error_message);
    return;
  }
  const auto value = [&](const std::string& counter) { return run.counters.at(counter).value; };
  fmt::print("{:<44} {:>11.1f} ", name, value(Counters::kOwn));
  const double bandwidth = value(Counters::kBandwidth);
  fmt::print("{:>7}", bandwidth > 0 ? fmt::format("{:.2f}", bandwidth) : "-");
  most_steal_ = std::max(most_steal_, value(Counters::kSteal));
  for (const std::string baseline : kBaselines) {
    if (run.counters.count(baseline) == 0) continue;
    Measured one = parsed(name);
    one.baseline = baseline;
    one.ratio = value(baseline);
    one.low = value(baseline + ".low");
    one.high = value(baseline + ".high");
    fmt::print("  {} {:.4g} [{:.4g}, {:.4g}]", baseline, one.ratio, one.low, one.high);
    measured_.push_back(one);
  }
  fmt::print("\n");
}

void Table::Finalize() {
  if (with_goals_) print_goals(measured_);
  fmt::print("\nload average at the end {:.2f}; time stolen by the host, at most {:.1f} %\n",
             load_average(), most_steal_);
}

}  // namespace quell::benchmarks

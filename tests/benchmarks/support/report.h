// Results as people read them.
#pragma once

#include <benchmark/benchmark.h>

#include "tests/benchmarks/support/goals.h"

namespace quell::benchmarks {

// The counters of a benchmark run: own_us, GB_per_s, steal_percent, and per baseline NAME, its
// ratio to own, with NAME.low and NAME.high, the ends of its 95 % interval.
struct Counters {
  static constexpr const char* kOwn = "own_us";
  static constexpr const char* kBandwidth = "GB_per_s";
  static constexpr const char* kSteal = "steal_percent";
};

// One line per benchmark and, if asked, a summary of the goals. Errors are counted.
class Table : public ::benchmark::BenchmarkReporter {
 public:
  explicit Table(bool with_goals) : with_goals_(with_goals) {}
  bool ReportContext(const Context&) override;
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;
  int errors() const { return errors_; }

 private:
  void report(const Run& run);

  bool with_goals_;
  std::vector<Measured> measured_;
  double most_steal_ = 0;
  int errors_ = 0;
};

}  // namespace quell::benchmarks

// Two ways to do the same work, timed against each other in one process.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace quell::benchmarks {

// How long one comparison may take: rounds go on until `seconds` have passed or `most_rounds` are
// done, but there are at least `least_rounds`.
struct Effort {
  int64_t least_rounds = 7;
  int64_t most_rounds = 61;
  double seconds = 0.7;
  // Times are those that the processor worked for this process, which leaves out others that wait
  // for the same core: they hit long calls more often than short ones, and so the slower side. For
  // one thread only.
  bool processor_time = true;
};

struct PairedRatio {
  double own_s = 0, baseline_s = 0;     // medians of one call
  double ratio = 0, low = 0, high = 0;  // baseline / own: median over the rounds, 95 % interval
  int64_t rounds = 0;
};

// Each round runs own, baseline, baseline, own, so that a drift of the machine slows both sides
// alike, and gives one ratio. One call of each goes before, untimed.
PairedRatio measure(const std::function<void()>& own, const std::function<void()>& baseline,
                    const Effort& effort);

double median(std::vector<double> values);

struct Interval {
  double low, high;
};

// Where the median lies with 95 % confidence: percentiles of the medians of 1000 resamples
// (bootstrap), always the same ones.
Interval median_interval(const std::vector<double>& values);

}  // namespace quell::benchmarks

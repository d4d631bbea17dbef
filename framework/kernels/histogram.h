// Histograms with bins of equal width, float32 in the order of torch.histc on the CPU. Exact
// counts: the same on every instruction set and for any number of threads.
#pragma once

#include <cstdint>

#include "framework/kernels/parallel.h"

namespace quell::kernels {

// Where the bins lie: from low to high, low < high, both and their difference finite; `count` of
// them, 1 to 2^24.
struct Bins {
  float low;
  float high;
  int64_t count;
};

// Adds to counts [bins.count]: a value x in [low, high] falls into bin (x - low) * count / (high -
// low), cut to an integer; `high` itself falls into the last one. Values outside, and NaN, are not
// counted. (Where the product overflows, torch.histc is undefined; here it means the last bin.)
// x: [size].
void add_to_histogram(const float* x, int64_t size, Bins bins, int64_t* counts,
                      ParallelFor parallel_for = serial_for);

// The same of |x|, in the same pass.
void add_magnitudes_to_histogram(const float* x, int64_t size, Bins bins, int64_t* counts,
                                 ParallelFor parallel_for = serial_for);

}  // namespace quell::kernels

// Statistics of activations per channel and per token, in one pass over memory, that can be merged:
// batches, layers and machines in any grouping.
#pragma once

#include <cstdint>
#include <limits>

#include "framework/kernels/parallel.h"

namespace quell::kernels {

// What is known about a set of values. Of no values: the defaults.
struct Moments {
  int64_t count = 0;
  double mean = 0;
  double m2 = 0;  // sum of (x - mean)^2
  double m3 = 0;  // sum of (x - mean)^3
  double m4 = 0;  // sum of (x - mean)^4
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
  int64_t outside = 0;  // values beyond the limits

  // Population moments of at least one value; those of constant values are NaN, except variance.
  double variance() const { return m2 / static_cast<double>(count); }
  double skewness() const;  // m3 / m2^1.5 as means: 0 for symmetric values
  double kurtosis() const;  // m4 / m2^2 as means: 3 for normally distributed values
};

// Adds what is known about other values. P. Pebay, "Formulas for robust, one-pass parallel
// computation of covariances and arbitrary-order statistical moments", 2008. The order of merging
// shows in the last bits.
void merge(const Moments& part, Moments& all);

// Values below low[channel] or above high[channel] count as outside; [features] each, or both null:
// nothing is counted. |x| > t is {-t, t}. Values beyond k standard deviations need a pass for mean
// and standard deviation first, over the same values or over earlier ones: {mean - k * deviation,
// mean + k * deviation}.
struct Limits {
  const float* low = nullptr;
  const float* high = nullptr;
};

// x: [rows, features]. `channels` [features] takes in the values of all rows: start from
// Moments{}, and go on with the next batch. `tokens` [rows] is overwritten. Either may be null.
//
// Moments are exact to 2e-6 of their size (the third: of m2^1.5), whatever the mean is, from
// the least to the largest float. A value that is not finite makes the moments NaN; min and max
// stay exact, and are NaN if a value is NaN, which is not outside. The same bits on every
// instruction set and for any number of threads.
void add_statistics(const float* x, int64_t rows, int64_t features, Limits limits,
                    Moments* channels, Moments* tokens, ParallelFor parallel_for = serial_for);

// Where x [size] is below `low` or above `high`: indices into found [size], ascending; returns how
// many there are.
int64_t find_outside(const float* x, int64_t size, float low, float high, int32_t* found);

}  // namespace quell::kernels

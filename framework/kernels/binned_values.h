// Bounds for what a grid does to many values, from one pass over them that counts them in bins: for
// searches that compare many grids. Performance notes, 1.7c.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "framework/kernels/grid.h"
#include "framework/kernels/min_max.h"

namespace quell::kernels {

// Mean of (x - y)^2, where y is x [size] fake-quantized: in double precision, in one pass. The same
// bits on every instruction set. Infinite where the scale is not finite.
double mean_squared_error(const float* x, int64_t size, ScaleZeroPoint grid, Levels levels);

class BinnedValues {
 public:
  // Whether values of this range can be binned at all.
  static bool can_hold(MinMax range, int64_t size);

  // `x` [size], whose extremes are `range`.
  BinnedValues(const float* x, int64_t size, MinMax range);

  struct Bounds {
    double low;
    double high;
  };

  // What mean_squared_error() lies between; a few parts in 10,000 apart at 8 bits. Costs O(codes).
  // Once it is known that the mean exceeds `give_up_above`, any two numbers above that may be
  // returned. The zero point is an integer.
  Bounds error_bounds(ScaleZeroPoint grid, Levels levels,
                      double give_up_above = std::numeric_limits<double>::infinity()) const;

 private:
  // Of the values in front of a bin, as if each lay where the bin's mean is.
  struct Sums {
    double count;
    double value;
    double square;
  };
  class Error;

  double origin_;           // of the first bin
  double width_;            // of a bin
  std::vector<Sums> sums_;  // [bins + 1]
};

}  // namespace quell::kernels

// What a grid does to a set of values: its mean squared error, exact and cheap. The values are
// sorted once; those with one code are then neighbours, and prefix sums give the error of each code
// at once. Performance notes, 1.7b.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "framework/kernels/grid.h"
#include "framework/kernels/min_max.h"

namespace quell::kernels {

class SortedValues {
 public:
  // `values` [n], n > 0, finite, in any order.
  explicit SortedValues(std::vector<float> values);

  MinMax range() const { return {values_.front(), values_.back()}; }

  // Mean of (x - y)^2, where y is x fake-quantized: codes are decided by the float32 arithmetic of
  // fake_quantize.h, so that ties fall as they do there; sums are in double precision. The zero
  // point is an integer. Costs O(codes * log n). Once it is known that the mean exceeds
  // `give_up_above`, any number above that may be returned. Infinite where the scale is not finite.
  double mean_squared_error(ScaleZeroPoint grid, Levels levels,
                            double give_up_above = std::numeric_limits<double>::infinity()) const;

 private:
  struct Sums {
    double value;
    double square;
  };
  // First index in [begin, end] whose value has at least that code (before clamping).
  int64_t first_with(float code, ScaleZeroPoint grid, int64_t begin, int64_t end) const;
  // Sum of (x - y)^2 over the values [begin, end), all of which become `code`.
  double error_of(int64_t begin, int64_t end, float code, ScaleZeroPoint grid) const;

  std::vector<float> values_;  // ascending
  std::vector<Sums> sums_;     // of the values before each index
};

}  // namespace quell::kernels

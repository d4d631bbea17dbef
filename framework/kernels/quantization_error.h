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
  friend class ErrorsOfSteps;
  struct Sums {
    double value;
    double square;
  };
  // The bin of `x`, which grows with it; from -1 below all values to bins() above them.
  int64_t bin_of(double x) const;
  int64_t bins() const { return static_cast<int64_t>(bin_begins_.size()) - 1; }
  // First index whose value is at least `x`.
  int64_t first_from(double x) const;
  // First index in [begin, end] whose value has at least that code (before clamping).
  int64_t first_with(float code, ScaleZeroPoint grid, int64_t begin, int64_t end) const;
  // Sum of (x - y)^2 over the values [begin, end), all of which become `code`.
  double error_of(int64_t begin, int64_t end, float code, ScaleZeroPoint grid) const;

  std::vector<float> values_;  // ascending
  // Bins of equal widths between the extremes: the first index of each, and behind the last one.
  std::vector<int64_t> bin_begins_;
  double bins_per_value_ = 0;
  std::vector<Sums> sums_;  // of the values before each index
};

// The same for many grids of one scale: values of a step, rint(x / scale), share their error
// whatever the zero point is, which only says between which steps values saturate. The same bits.
class ErrorsOfSteps {
 public:
  // Of the steps that grids with these levels can have. The values must live as long as this.
  ErrorsOfSteps(const SortedValues& values, float scale, Levels levels);

  float scale() const { return scale_; }
  // As SortedValues::mean_squared_error(). Costs O(codes).
  double mean_squared_error(float zero_point, Levels levels) const;

 private:
  size_t place_of(float step) const { return static_cast<size_t>(step + reach_); }

  const SortedValues& values_;
  float scale_, reach_;
  std::vector<int64_t> first_;  // index of the first value that has at least that step
  std::vector<double> error_;   // of a step
};

}  // namespace quell::kernels

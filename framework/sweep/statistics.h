// Statistics of few runs and of many examples.
#pragma once

#include <cstdint>
#include <span>

namespace quell {

double mean(std::span<const double> values);

// With n - 1; NaN for fewer than two values.
double standard_deviation(std::span<const double> values);

struct Interval {
  double low = 0;
  double high = 0;
};

// Percentile bootstrap interval of the mean (Efron 1979), 95 %: the smallest means that at least
// 2.5 % and 97.5 % of the resamples do not exceed. Up to six values all n^n resamples are counted;
// beyond, 10000 are drawn by a fixed seed. NaN for fewer than two values.
Interval bootstrap_interval(std::span<const double> values);

// Two-sided sign-flip (permutation) test of paired differences: the probability of a sum at least
// as large as the observed one when the sign of every difference is a coin toss. Up to 16 nonzero
// differences all 2^n signs are counted, beyond, 10000 are drawn by a fixed seed, and the result is
// (1 + hits) / 10001. 1 when all differences are zero.
double sign_flip_p(std::span<const double> differences);

// Exact two-sided McNemar test: `gained` and `lost` count examples that only one of two classifiers
// gets right. 1 when there are none.
double mcnemar_p(int64_t gained, int64_t lost);

}  // namespace quell

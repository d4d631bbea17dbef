#include "framework/sweep/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace quell {
namespace {

constexpr size_t kExactValues = 6;        // 6^6 = 46656 resamples
constexpr size_t kExactDifferences = 16;  // 65536 signs
constexpr int64_t kDraws = 10000;
constexpr uint64_t kSeed = 0x71756c6c;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Sums in different orders differ in the last bits; equal ones must count as equal.
double tolerance(double size) { return 1e-12 * std::max(1.0, std::abs(size)); }

std::vector<double> all_means(std::span<const double> values) {
  const size_t n = values.size();
  std::vector<size_t> chosen(n, 0);
  std::vector<double> means;
  while (true) {
    double sum = 0;
    for (const size_t index : chosen) sum += values[index];
    means.push_back(sum / static_cast<double>(n));
    size_t digit = 0;
    while (digit < n && ++chosen[digit] == n) chosen[digit++] = 0;
    if (digit == n) return means;
  }
}

std::vector<double> drawn_means(std::span<const double> values) {
  std::mt19937_64 random(kSeed);
  const uint64_t n = values.size();
  // The largest multiple of n: draws beyond it would favour some values.
  const uint64_t limit = std::numeric_limits<uint64_t>::max() / n * n;
  std::vector<double> means(kDraws);
  for (double& result : means) {
    for (uint64_t i = 0; i < n;) {
      const uint64_t draw = random();
      if (draw >= limit) continue;
      result += values[draw % n];
      ++i;
    }
    result /= static_cast<double>(n);
  }
  return means;
}

}  // namespace

double mean(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? kNaN : sum / static_cast<double>(values.size());
}

double standard_deviation(std::span<const double> values) {
  if (values.size() < 2) return kNaN;
  const double center = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - center) * (value - center);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

Interval bootstrap_interval(std::span<const double> values) {
  if (values.size() < 2) return {kNaN, kNaN};
  std::vector<double> means =
      values.size() <= kExactValues ? all_means(values) : drawn_means(values);
  std::sort(means.begin(), means.end());
  const auto quantile = [&](double share) {
    const double rank = std::ceil(share * static_cast<double>(means.size()));
    return means[static_cast<size_t>(std::max(rank, 1.0)) - 1];
  };
  return {quantile(0.025), quantile(0.975)};
}

double sign_flip_p(std::span<const double> differences) {
  std::vector<double> moving;
  double observed = 0;
  for (const double difference : differences) {
    if (difference == 0) continue;
    moving.push_back(difference);
    observed += difference;
  }
  if (moving.empty()) return 1;
  const double bound = std::abs(observed) - tolerance(observed);
  const size_t n = moving.size();
  if (n <= kExactDifferences) {
    int64_t hits = 0;
    const uint64_t all = uint64_t{1} << n;
    for (uint64_t signs = 0; signs < all; ++signs) {
      double sum = 0;
      for (size_t i = 0; i < n; ++i) sum += (signs >> i & 1) != 0 ? -moving[i] : moving[i];
      hits += std::abs(sum) >= bound;
    }
    return static_cast<double>(hits) / static_cast<double>(all);
  }
  std::mt19937_64 random(kSeed);
  int64_t hits = 0;
  for (int64_t draw = 0; draw < kDraws; ++draw) {
    double sum = 0;
    uint64_t signs = 0;
    for (size_t i = 0; i < n; ++i) {
      if (i % 64 == 0) signs = random();
      sum += (signs >> (i % 64) & 1) != 0 ? -moving[i] : moving[i];
    }
    hits += std::abs(sum) >= bound;
  }
  return static_cast<double>(1 + hits) / static_cast<double>(1 + kDraws);
}

double mcnemar_p(int64_t gained, int64_t lost) {
  const int64_t all = gained + lost;
  if (all == 0) return 1;
  // Twice the smaller tail of the binomial distribution with probability 1/2.
  const int64_t smaller = std::min(gained, lost);
  const auto count = static_cast<double>(all);
  double tail = 0;
  for (int64_t k = 0; k <= smaller; ++k) {
    const auto chosen = static_cast<double>(k);
    tail += std::exp(std::lgamma(count + 1) - std::lgamma(chosen + 1) -
                     std::lgamma(count - chosen + 1) - count * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

}  // namespace quell

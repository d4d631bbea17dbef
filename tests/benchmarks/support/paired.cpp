#include "tests/benchmarks/support/paired.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <random>

namespace quell::benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double processor_seconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(const std::function<void()>& work, bool processor_time) {
  const auto start = Clock::now();
  const double processor_start = processor_time ? processor_seconds() : 0;
  work();
  return processor_time ? processor_seconds() - processor_start : seconds_since(start);
}

}  // namespace

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

Interval median_interval(const std::vector<double>& values) {
  constexpr size_t kResamples = 1000;
  std::mt19937 random(1);
  std::uniform_int_distribution<size_t> any(0, values.size() - 1);
  std::vector<double> medians, resample(values.size());
  for (size_t i = 0; i < kResamples; ++i) {
    for (double& value : resample) value = values[any(random)];
    medians.push_back(median(resample));
  }
  std::sort(medians.begin(), medians.end());
  return {medians[kResamples / 40], medians[kResamples - 1 - kResamples / 40]};
}

PairedRatio measure(const std::function<void()>& own, const std::function<void()>& baseline,
                    const Effort& effort) {
  own();
  baseline();
  std::vector<double> owns, baselines, ratios;
  const auto start = Clock::now();
  for (int64_t round = 0; round < effort.most_rounds; ++round) {
    if (round >= effort.least_rounds && seconds_since(start) > effort.seconds) break;
    const double own_first = seconds_of(own, effort.processor_time);
    const double baseline_first = seconds_of(baseline, effort.processor_time);
    const double baseline_second = seconds_of(baseline, effort.processor_time);
    const double own_second = seconds_of(own, effort.processor_time);
    owns.insert(owns.end(), {own_first, own_second});
    baselines.insert(baselines.end(), {baseline_first, baseline_second});
    ratios.push_back((baseline_first + baseline_second) / (own_first + own_second));
  }
  const Interval interval = median_interval(ratios);
  return {median(owns), median(baselines), median(ratios),
          interval.low, interval.high,     static_cast<int64_t>(ratios.size())};
}

}  // namespace quell::benchmarks

// What the kernel tests share.
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "framework/kernels/fake_quantize.h"

namespace quell::kernels {

// The same value down to the last bit, where NaN equals NaN.
inline bool same_bits(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

// Index of the first element that differs, -1 if none does.
inline int64_t first_difference(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) return static_cast<int64_t>(i);
  }
  return -1;
}

// Normally distributed, the first and every `step`-th value after it times `outlier`.
inline std::vector<float> normal_values(size_t count, float outlier, size_t step,
                                        float centre = 0) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(centre);
  std::vector<float> x(count);
  for (float& value : x) value = normal(random);
  for (size_t i = 0; i < count; i += step) x[i] *= outlier;
  return x;
}

// The mean squared error by its definition, value by value, by the quantizer's own code.
inline double brute_force(const std::vector<float>& x, ScaleZeroPoint grid, Levels levels) {
  std::vector<float> y(x.size());
  fake_quantize_tensor(x.data(), y.data(), static_cast<int64_t>(x.size()), grid.scale,
                       grid.zero_point, levels);
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double error = static_cast<double>(x[i]) - y[i];
    sum += error * error;
  }
  return sum / static_cast<double>(x.size());
}

// Whether this instruction set multiplies and adds with one rounding.
inline bool fused() {
  const std::string name = instruction_set();
  return name != "SSE2" && name != "EMU128" && name != "SCALAR";
}

// Two threads that take turns with small parts, so that borders fall everywhere.
inline void two_threads(int64_t begin, int64_t end, int64_t /*grain*/,
                        const std::function<void(int64_t, int64_t)>& body) {
  if (begin >= end) return;
  const int64_t step = std::max<int64_t>(1, (end - begin) / 7);
  const auto work = [&](int64_t part) {
    for (int64_t first = begin + part * step; first < end; first += 2 * step) {
      body(first, std::min(end, first + step));
    }
  };
  std::thread other([&] { work(1); });
  work(0);
  other.join();
}

// Runs `check` once per instruction set that is compiled in and that this processor has.
inline void on_every_instruction_set(const std::function<void()>& check) {
  std::vector<std::string> seen;
  for (int64_t targets = hwy::SupportedTargets(); targets != 0; targets &= targets - 1) {
    const int64_t target = targets & -targets;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    // A set that is not compiled in falls back to another one.
    if (hwy::TargetName(target) != std::string(instruction_set())) continue;
    seen.push_back(instruction_set());
    SCOPED_TRACE(seen.back());
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_FALSE(seen.empty());
  std::string names;
  for (const std::string& name : seen) names += name + " ";
  testing::Test::RecordProperty("instruction_sets", names);
}

}  // namespace quell::kernels

// The exact search for the range of least squared error against evaluating its candidates one by
// one, as the published code does (float32, eager operations of LibTorch).
//
// One thread, same process, same tensor. Eager candidates are timed on a few and the time of all is
// their number times that: `eager_scaled_s`. `faster` is that divided by the time of ours, which
// includes sorting. Run on an idle machine: taskset -c 0 build/tests/range_search_benchmark
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>
#include <algorithm>
#include <chrono>

#include "framework/quant/range_search_observer.h"

namespace quell {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Normal activations with two outlier channels.
at::Tensor activation(int64_t rows, int64_t features) {
  at::manual_seed(1);
  at::Tensor x = at::randn({rows, features});
  x.select(1, features / 3).mul_(20);
  x.select(1, features / 2).mul_(-12);
  return x;
}

// One candidate of the published sequence: quantize, subtract, square, mean, compare.
double eager_loss(const at::Tensor& x, const QuantSpec& spec, float min, float max) {
  const auto grid =
      kernels::scale_zero_point(spec.grid, static_cast<int>(spec.bits), spec.symmetric, min, max);
  const auto levels = kernels::levels(spec.grid, static_cast<int>(spec.bits), spec.symmetric);
  const at::Tensor codes = at::round(x / grid.scale) + grid.zero_point;
  const at::Tensor y = (at::clamp(codes, levels.low, levels.high) - grid.zero_point) * grid.scale;
  return (y - x).abs().pow(2).mean().item<double>();
}

double eager_seconds_per_candidate(const at::Tensor& x, const QuantSpec& spec) {
  constexpr int kTimed = 5;
  std::vector<double> times;
  for (int i = 0; i < kTimed; ++i) {
    const auto start = Clock::now();
    benchmark::DoNotOptimize(eager_loss(x, spec, -3.0f - static_cast<float>(i), 4.0f));
    times.push_back(seconds_since(start));
  }
  std::sort(times.begin(), times.end());
  return times[kTimed / 2];
}

void search(benchmark::State& state, bool grid_search, bool symmetric) {
  const at::NoGradGuard no_gradients;
  at::set_num_threads(1);
  QuantSpec spec;
  spec.bits = state.range(0);
  spec.symmetric = symmetric;
  const at::Tensor x = activation(state.range(1), state.range(2));
  const RangeSearch method = grid_search ? GridSearchParams{}.search() : kernels::search_brent;
  std::vector<double> times;
  for (auto _ : state) {
    const auto start = Clock::now();
    benchmark::DoNotOptimize(search_ranges(x, spec, side_of(x), method));
    times.push_back(seconds_since(start));
  }
  std::sort(times.begin(), times.end());
  state.counters["ours_s"] = times[times.size() / 2];
  if (!grid_search) return;
  const double candidates = symmetric ? 100 : 100 * static_cast<double>(1 << spec.bits);
  const double eager = candidates * eager_seconds_per_candidate(x, spec);
  state.counters["eager_scaled_s"] = eager;
  state.counters["faster"] = eager / state.counters["ours_s"];
}

// Arguments: bits, rows, features. 4096 rows are a batch of 32 sequences of 128.
#define QUELL_SIZES                        \
  ->ArgNames({"bits", "rows", "features"}) \
      ->Args({4, 640, 384})                \
      ->Args({6, 640, 384})                \
      ->Args({8, 640, 384})                \
      ->Args({8, 640, 1536})               \
      ->Args({8, 4096, 768})               \
      ->Unit(benchmark::kMillisecond)

BENCHMARK_CAPTURE(search, grid_2d, true, false) QUELL_SIZES;
BENCHMARK_CAPTURE(search, grid_1d, true, true) QUELL_SIZES;
BENCHMARK_CAPTURE(search, brent_2d, false, false) QUELL_SIZES;

}  // namespace
}  // namespace quell

BENCHMARK_MAIN();

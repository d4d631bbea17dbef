// Learning a grid, LSQ+ with gradient scaling: one forward and one backward pass of our autograd
// function against the published sequence of operations recorded by LibTorch, and against
// LibTorch's own learnable fake quantization.
//
// One process, one thread, one input; every iteration runs all contenders once, in rotating order,
// and all allocate what they return. `eager`, `aten` are median(time of that) / median(time of
// own): above 1 own is faster. Outputs and gradients are compared before anything is timed
// (LibTorch's operation rounds otherwise and is not). Run on an idle machine: taskset -c 0
// build/tests/learned_quantize_benchmark
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>

#include "framework/quant/fake_quantize_autograd.h"

namespace quell {
namespace {

using at::Tensor;

constexpr kernels::Levels kLevels{0.0f, 63.0f};

// Leaves, and the upstream gradient.
struct Input {
  Tensor x, scale, zero_point, dy;
  QuantSpec spec;

  Input(int64_t rows, int64_t features, bool per_row) {
    at::manual_seed(1);
    x = at::randn({rows, features});
    x.select(1, features / 3).mul_(20);
    x.select(1, features / 2).mul_(-12);
    spec.bits = 6;
    if (per_row) {
      spec.granularity = Granularity::kChannel;
      spec.axis = 0;
    }
    // Narrower than the range, so that both ends clip.
    const Range range = min_max(x, spec);
    const QuantParameters parameters =
        parameters_from_range({range.min * 0.7, range.max * 0.7}, spec);
    scale = parameters.scale.requires_grad_(true);
    zero_point = parameters.zero_point.add(0.3).requires_grad_(true);
    dy = at::randn_like(x);
    x.requires_grad_(true);
  }
  int64_t values_per_scale() const { return x.numel() / scale.numel(); }
  void reset() {
    for (Tensor* leaf : {&x, &scale, &zero_point}) leaf->mutable_grad() = Tensor();
  }
};

Tensor own(const Input& input) {
  return fake_quantize_learned(input.x, {input.scale, input.zero_point, kLevels}, input.spec,
                               {/*gradient_scaling=*/true, /*learned_zero_point=*/true},
                               /*in_place=*/false);
}

Tensor gradient_scaled(const Tensor& t, double factor) {
  const Tensor part = t * factor;
  return (t - part).detach() + part;
}

Tensor rounded(const Tensor& t) { return (t.round() - t).detach() + t; }

// As the published LSQPlusFakeQuantize.
Tensor eager(const Input& input) {
  const double factor = 1.0 / std::sqrt(static_cast<double>(input.values_per_scale()) * 63.0);
  const std::vector<int64_t> shape{input.scale.numel(), 1};
  const Tensor scale = gradient_scaled(input.scale, factor).view(shape);
  const Tensor zero_point = gradient_scaled(rounded(input.zero_point), factor).view(shape);
  const Tensor codes = at::clamp(rounded(input.x / scale) + zero_point, kLevels.low, kLevels.high);
  return (codes - zero_point) * scale;
}

Tensor aten(const Input& input) {
  const double factor = 1.0 / std::sqrt(static_cast<double>(input.values_per_scale()) * 63.0);
  if (input.scale.numel() == 1) {
    return at::_fake_quantize_learnable_per_tensor_affine(input.x, input.scale, input.zero_point, 0,
                                                          63, factor);
  }
  return at::_fake_quantize_learnable_per_channel_affine(input.x, input.scale, input.zero_point, 0,
                                                         0, 63, factor);
}

using Forward = std::function<Tensor(const Input&)>;

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Forward and backward; gradients are dropped outside of what is timed.
double seconds(Input& input, const Forward& forward) {
  const auto start = std::chrono::steady_clock::now();
  const Tensor y = forward(input);
  y.backward(input.dy);
  benchmark::DoNotOptimize(input.x.grad().const_data_ptr());
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  input.reset();
  return taken.count();
}

bool same_results(Input& input) {
  std::vector<std::vector<Tensor>> found;
  for (const Forward& forward : {Forward(own), Forward(eager)}) {
    const Tensor y = forward(input);
    y.backward(input.dy);
    found.push_back({y, input.x.grad(), input.scale.grad(), input.zero_point.grad()});
    input.reset();
  }
  const auto close = [&](size_t i) {
    // Eager sums of millions of float32 products, each up to 63 times our terms.
    const double size = found[1][i].abs().max().item<double>();
    return at::allclose(found[0][i], found[1][i], 3e-5, 1e-4 * size);
  };
  return at::equal(found[0][0], found[1][0]) && at::allclose(found[0][1], found[1][1], 2.4e-7, 0) &&
         close(2) && close(3);
}

void forward_and_backward(benchmark::State& state, bool per_row) {
  at::set_num_threads(1);
  Input input(state.range(0), state.range(1), per_row);
  if (!same_results(input)) {
    state.SkipWithError("own results differ from the eager ones");
    return;
  }
  const std::vector<Forward> contenders = {own, eager, aten};
  std::vector<std::vector<double>> times(contenders.size());
  size_t turn = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < contenders.size(); ++i) {
      const size_t which = (i + turn) % contenders.size();
      times[which].push_back(seconds(input, contenders[which]));
    }
    state.SetIterationTime(times[0].back());
    ++turn;
  }
  const double ours = median(times[0]);
  state.counters["own_us"] = ours * 1e6;
  state.counters["eager"] = median(times[1]) / ours;
  state.counters["aten"] = median(times[2]) / ours;
}

// 4096 rows are a batch of 32 sequences of 128.
#define QUELL_SIZES                \
  ->ArgNames({"rows", "features"}) \
      ->Args({700, 384})           \
      ->Args({4096, 768})          \
      ->UseManualTime()            \
      ->Iterations(25)             \
      ->Unit(benchmark::kMicrosecond)

BENCHMARK_CAPTURE(forward_and_backward, tensor, false) QUELL_SIZES;
BENCHMARK_CAPTURE(forward_and_backward, rows, true) QUELL_SIZES;

}  // namespace
}  // namespace quell

BENCHMARK_MAIN();

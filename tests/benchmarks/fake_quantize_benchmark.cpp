// Own kernels against a plain copy, LibTorch's own operation and the published eager sequence.
//
// Every row of the table comes from one process: each iteration runs all contenders once, in
// rotating order, on the same input, one thread each, and every contender allocates its output.
// `copy`, `eager`, `aten` are median(time of that) / median(time of own): above 1 own is faster.
// Run on an idle machine: taskset -c 0 build/tests/fake_quantize_benchmark
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "framework/kernels/fake_quantize.h"
#include "framework/kernels/min_max.h"

namespace quell {
namespace {

using at::Tensor;

// A copy by ordinary stores; memcpy would bypass the cache for large sizes. GCC picks the widest
// vectors of the machine.
#ifdef __x86_64__
__attribute__((target_clones("avx512f", "avx2", "default"),
               optimize("O3", "no-tree-loop-distribute-patterns")))
#endif
void copy_floats(const float* x, float* y, int64_t size) {
  for (int64_t i = 0; i < size; ++i) y[i] = x[i];
}

Tensor copied(const Tensor& x) {
  Tensor y = at::empty_like(x);
  copy_floats(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), x.numel());
  return y;
}

// The published code: rounding is (round(q) - q) + q, which lets a gradient through.
Tensor eager(const Tensor& x, const Tensor& scale, const Tensor& zero_point, int64_t low,
             int64_t high) {
  Tensor code = x / scale;
  code = (code.round() - code) + code;
  code = at::clamp(code + zero_point, low, high);
  return (code - zero_point) * scale;
}

struct Contender {
  std::string name;
  std::function<Tensor()> run;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// The first contender is ours; `bytes` is what it has to move at least.
void compare(benchmark::State& state, const std::vector<Contender>& contenders, int64_t bytes) {
  std::vector<std::vector<double>> seconds(contenders.size());
  for (const Contender& contender : contenders) contender.run();
  size_t turn = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < contenders.size(); ++i) {
      const size_t which = (i + turn) % contenders.size();
      const auto start = std::chrono::steady_clock::now();
      const Tensor result = contenders[which].run();
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      benchmark::DoNotOptimize(result.const_data_ptr());
      seconds[which].push_back(taken.count());
    }
    state.SetIterationTime(seconds[0].back());
    ++turn;
  }
  const double own = median(seconds[0]);
  state.counters["own_us"] = own * 1e6;
  state.counters["own_GB_per_s"] = static_cast<double>(bytes) / own * 1e-9;
  for (size_t i = 1; i < contenders.size(); ++i) {
    state.counters[contenders[i].name] = median(seconds[i]) / own;
  }
}

void require_equal(benchmark::State& state, const Tensor& own, const Tensor& reference) {
  if (!at::equal(own, reference)) state.SkipWithError("own result differs from the eager one");
}

// Activations with a few outlier features.
Tensor activations(at::IntArrayRef shape) {
  Tensor x = at::randn(shape);
  x.select(-1, 3).mul_(20);
  x.select(-1, 11).mul_(-35);
  return x;
}

void whole_tensor(benchmark::State& state, const std::vector<int64_t>& shape) {
  const Tensor x = activations(shape);
  const kernels::MinMax range = kernels::min_max_tensor(x.const_data_ptr<float>(), x.numel());
  const auto rule = kernels::affine_rule(kernels::Grid::kOs, 6, false);
  const auto [scale, zero_point] = kernels::scale_zero_point(rule, range.min, range.max);
  const Tensor scales = at::full({1}, scale), zero_points = at::full({1}, zero_point);
  const float s = scale, z = zero_point;
  const auto own = [&, s, z] {
    Tensor y = at::empty_like(x);
    kernels::fake_quantize_tensor(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), x.numel(),
                                  s, z, rule.levels);
    return y;
  };
  const auto published = [&] { return eager(x, scales, zero_points, 0, 63); };
  require_equal(state, own(), published());
  compare(state,
          {{"own", own},
           {"copy", [&] { return copied(x); }},
           {"eager", published},
           {"aten",
            [&, s, z] {
              return at::fake_quantize_per_tensor_affine(x, s, static_cast<int64_t>(z), 0, 63);
            }}},
          8 * x.numel());
}

// One scale per row (axis 0) or per column (axis 1) of x [rows, columns].
void channels(benchmark::State& state, int64_t rows, int64_t columns, int64_t axis) {
  const Tensor x = activations({rows, columns});
  const auto [low, high] = at::aminmax(x, 1 - axis);
  const Tensor scale = ((high - low) / 63).contiguous();
  const Tensor zero_point = at::round(-low / scale);
  const std::vector<int64_t> broadcast =
      axis == 0 ? std::vector<int64_t>{-1, 1} : std::vector<int64_t>{1, -1};
  const auto own = [&] {
    Tensor y = at::empty_like(x);
    kernels::fake_quantize_channels(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(),
                                    axis == 0 ? 1 : rows, x.size(axis), axis == 0 ? columns : 1,
                                    scale.const_data_ptr<float>(),
                                    zero_point.const_data_ptr<float>(), {0.0f, 63.0f});
    return y;
  };
  const auto published = [&] {
    return eager(x, scale.view(broadcast), zero_point.view(broadcast), 0, 63);
  };
  require_equal(state, own(), published());
  compare(
      state,
      {{"own", own},
       {"copy", [&] { return copied(x); }},
       {"eager", published},
       {"aten",
        [&] { return at::fake_quantize_per_channel_affine(x, scale, zero_point, axis, 0, 63); }}},
      8 * x.numel());
}

void rows_dynamic(benchmark::State& state, int64_t rows, int64_t columns) {
  const Tensor x = activations({rows, columns});
  const auto rule = kernels::affine_rule(kernels::Grid::kOsPlus, 8, false);
  const auto own = [&] {
    Tensor y = at::empty_like(x);
    kernels::fake_quantize_rows_dynamic(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(),
                                        rows, columns, rule);
    return y;
  };
  const auto published = [&] {
    const auto [min, max] = at::aminmax(x, 1, /*keepdim=*/true);
    const Tensor low = min.clamp_max(0), high = max.clamp_min(0);
    const Tensor scale = ((high - low) / 255).clamp_min(1.1920929e-7);
    return eager(x, scale, (-at::round(low / scale)).clamp(0, 255), 0, 255);
  };
  require_equal(state, own(), published());
  compare(state, {{"own", own}, {"copy", [&] { return copied(x); }}, {"eager", published}},
          8 * x.numel());
}

void range_of_tensor(benchmark::State& state, int64_t rows, int64_t columns) {
  const Tensor x = activations({rows, columns});
  compare(state,
          {{"own",
            [&] {
              const auto range = kernels::min_max_tensor(x.const_data_ptr<float>(), x.numel());
              return at::full({2}, range.max);
            }},
           {"eager", [&] { return std::get<0>(at::aminmax(x.clone())); }},
           {"aten", [&] { return std::get<0>(at::aminmax(x)); }}},
          4 * x.numel());
}

void register_all() {
  const auto add = [](const std::string& name, auto function) {
    benchmark::RegisterBenchmark(name.c_str(), function)->UseManualTime()->Iterations(41);
  };
  const std::vector<std::vector<int64_t>> shapes = {
      {700, 384}, {4096, 768}, {32, 12, 128, 128}, {3072, 768}};
  for (const std::vector<int64_t>& shape : shapes) {
    std::string name;
    for (const int64_t size : shape)
      name.append(name.empty() ? "" : "x").append(std::to_string(size));
    add("tensor/" + name, [shape](benchmark::State& state) { whole_tensor(state, shape); });
  }
  add("channel_rows/3072x768", [](benchmark::State& state) { channels(state, 3072, 768, 0); });
  add("channel_columns/4096x768", [](benchmark::State& state) { channels(state, 4096, 768, 1); });
  add("rows_dynamic/4096x768", [](benchmark::State& state) { rows_dynamic(state, 4096, 768); });
  add("rows_dynamic/700x384", [](benchmark::State& state) { rows_dynamic(state, 700, 384); });
  add("min_max/4096x768", [](benchmark::State& state) { range_of_tensor(state, 4096, 768); });
}

// One line per comparison; `--benchmark_out=FILE` writes all figures as JSON besides.
class Table : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override {
    std::printf("instruction set %s, one thread; columns 3 to 5: time of that / time of own\n",
                kernels::instruction_set());
    std::printf("%-28s %10s %7s %7s %7s %7s\n", "", "own [us]", "GB/s", "copy", "eager", "aten");
    return true;
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.error_occurred) {
        std::printf("%-28s %s\n", run.run_name.function_name.c_str(), run.error_message.c_str());
        continue;
      }
      std::printf("%-28s", run.run_name.function_name.c_str());
      print(run, "own_us", "%11.1f");
      for (const char* column : {"own_GB_per_s", "copy", "eager", "aten"}) {
        print(run, column, "%8.2f");
      }
      std::printf("\n");
    }
  }

 private:
  static void print(const Run& run, const char* counter, const char* format) {
    const auto found = run.counters.find(counter);
    if (found == run.counters.end()) {
      std::printf("%8s", "-");
    } else {
      std::printf(format, found->second.value);
    }
  }
};

}  // namespace
}  // namespace quell

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  at::set_num_threads(1);
  const at::NoGradGuard no_grad;
  quell::register_all();
  quell::Table table;
  benchmark::RunSpecifiedBenchmarks(&table);
  return 0;
}

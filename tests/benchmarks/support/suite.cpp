#include "tests/benchmarks/support/suite.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>
#include <algorithm>
#include <functional>
#include <numeric>

#include "tests/benchmarks/support/data.h"
#include "tests/benchmarks/support/environment.h"
#include "tests/benchmarks/support/report.h"

namespace quell::benchmarks {
namespace {

const std::vector<std::vector<int64_t>> kShapes = {
    {32, 128, 768}, {32, 12, 128, 128}, {8, 384, 768}, {4, 1024, 768}, {3072, 768}, {4096, 4096}};
const std::vector<std::vector<int64_t>> kSmokeShapes = {{2, 5, 64}};

constexpr const char* kUsage = R"(Own kernels against their floor, LibTorch and the published code.

  --all         bits 4, 6 and 8, hot and cold, all shapes. Without it: 6 bits (8 for mse_2d), hot,
                all shapes, and the first and the last one cold
  --smoke       compare outputs on a tiny input, and measure one round only
  --threads N   of both sides (default 1). One thread is timed by the processor's time, more by the
                clock on the wall

hot: the same buffers each time, in the cache as far as they fit. cold: buffers of more than 256 MB
in turn. Google Benchmark's options work too: --benchmark_filter='tensor/.*/8bit/cold' chooses among
all cases, --benchmark_list_tests, --benchmark_out=FILE writes JSON.
)";

struct Options {
  bool all = false, smoke = false, help = false;
  int threads = 1;
};

// Takes our own options out of argv.
Options parse(int& argc, char** argv) {
  Options options;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--all") {
      options.all = true;
    } else if (argument == "--smoke") {
      options.smoke = true;
    } else if (argument == "--help") {
      options.help = true;
    } else if (argument == "--threads" && i + 1 < argc) {
      options.threads = std::max(1, std::atoi(argv[++i]));
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return options;
}

// Freed memory stays in the process, so that nobody pays for fresh pages: contenders that allocate
// their output (LibTorch above 32 MB) would otherwise be measured with the kernel's page faults.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

Outputs copies(const Outputs& outputs) {
  Outputs result;
  for (const at::Tensor& output : outputs) result.push_back(output.clone());
  return result;
}

// What is wrong with a contender's outputs; empty if nothing is.
std::string differences(const Case& problem) {
  const Outputs own = copies(problem.contenders.front().run(0));
  for (const Contender& contender : problem.contenders) {
    const std::string found = contender.difference(own, contender.run(0));
    if (!found.empty()) return fmt::format("own differs from {}: {}", contender.name, found);
  }
  return "";
}

void run_case(::benchmark::State& state, const Operation& operation, const Setting& setting,
              const Effort& effort) {
  const Case problem = operation.make(setting);
  const std::string found = differences(problem);
  if (!found.empty()) {
    state.SkipWithError(found.c_str());
    return;
  }
  const ProcessorTicks before = processor_ticks();
  int64_t turn = 0;
  const auto action = [&](const Contender& contender) {
    return [&] {
      const Outputs outputs = contender.run(turn++ % problem.slots);
      ::benchmark::DoNotOptimize(outputs.data());
      ::benchmark::ClobberMemory();
    };
  };
  const Contender& own = problem.contenders.front();
  for (auto _ : state) {
    std::vector<double> times;
    for (size_t i = 1; i < problem.contenders.size(); ++i) {
      const Contender& baseline = problem.contenders[i];
      const PairedRatio result = measure(action(own), action(baseline), effort);
      times.push_back(result.own_s);
      state.counters[baseline.name] = result.ratio / baseline.share_of_work;
      state.counters[baseline.name + ".low"] = result.low / baseline.share_of_work;
      state.counters[baseline.name + ".high"] = result.high / baseline.share_of_work;
      state.counters[baseline.name + ".us"] = result.baseline_s / baseline.share_of_work * 1e6;
      state.counters[baseline.name + ".rounds"] = static_cast<double>(result.rounds);
    }
    const double seconds = median(times);
    state.SetIterationTime(seconds);
    state.counters[Counters::kOwn] = seconds * 1e6;
    state.counters[Counters::kBandwidth] = static_cast<double>(problem.bytes) / seconds * 1e-9;
  }
  const ProcessorTicks after = processor_ticks();
  const double passed = std::max(1.0, after.all - before.all);
  state.counters[Counters::kSteal] = 100 * (after.stolen - before.stolen) / passed;
}

void register_case(const Operation& operation, const Setting& setting, const Effort& effort) {
  std::string name = fmt::format("{}/{}", operation.name, fmt::join(setting.shape, "x"));
  if (operation.depends_on_bits) name += fmt::format("/{}bit", setting.bits);
  name += setting.cold ? "/cold" : "/hot";
  ::benchmark::RegisterBenchmark(
      name.c_str(), [=](::benchmark::State& state) { run_case(state, operation, setting, effort); })
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(::benchmark::kMicrosecond);
}

void register_all(const std::vector<Operation>& operations, const Options& options) {
  const auto& shapes = options.smoke ? kSmokeShapes : kShapes;
  const bool everything = options.all || !::benchmark::GetBenchmarkFilter().empty();
  for (const Operation& operation : operations) {
    Effort effort = options.smoke ? Effort{1, 1, 0} : operation.effort;
    effort.processor_time = options.threads == 1;
    for (const std::vector<int64_t>& shape : shapes) {
      for (const int64_t bits : {4, 6, 8}) {
        for (const bool cold : {false, true}) {
          const bool end = shape == shapes.front() || shape == shapes.back();
          const bool usual = bits == operation.usual_bits && (!cold || (end && !options.smoke));
          if (bits != operation.usual_bits && !operation.depends_on_bits) continue;
          if (cold && !operation.cold) continue;
          if (operation.has_sequences && shape.size() < 3) continue;
          if (!usual && !everything) continue;
          register_case(operation, {shape, bits, cold}, effort);
        }
      }
    }
  }
}

// Identical work against itself: what a ratio of 1 looks like here.
void print_resolution() {
  const Buffers buffers(Setting{kShapes.front()});
  const auto copy = [&] { copy_floats(buffers.in(0), buffers.out(0), buffers.x.front().numel()); };
  const PairedRatio result = measure(copy, copy, {});
  fmt::print("\nresolution: a copy against itself {:.3f} [{:.3f}, {:.3f}]\n", result.ratio,
             result.low, result.high);
}

void print_environment() {
  for (const auto& [name, value] : environment()) {
    ::benchmark::AddCustomContext(name, value);
    fmt::print("{:<24} {}\n", name, value);
  }
  if (load_average() > 0.3) {
    fmt::print("The machine is busy: trust ratios and their intervals, not times.\n");
  }
}

}  // namespace

int64_t Setting::values() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t Setting::slots(int64_t bytes_of_a_slot) const {
  constexpr int64_t kColdBytes = 256 << 20;
  return cold ? kColdBytes / bytes_of_a_slot + 2 : 1;
}

std::string difference_in_bits(const Outputs& own, const Outputs& other) {
  for (size_t i = 0; i < own.size(); ++i) {
    if (!at::equal(own[i], other[i])) return fmt::format("output {} is not equal", i);
  }
  return "";
}

Difference difference_beyond(double step) {
  return [step](const Outputs& own, const Outputs& other) -> std::string {
    for (size_t i = 0; i < own.size(); ++i) {
      const double found = (own[i] - other[i]).abs().max().item<double>();
      if (!(found <= step)) return fmt::format("output {} by {} (allowed {})", i, found, step);
    }
    return "";
  };
}

std::string not_compared(const Outputs&, const Outputs&) { return ""; }

int run_suite(int argc, char** argv, const std::vector<Operation>& operations) {
  const Options options = parse(argc, argv);
  if (options.help) {
    fmt::print("{}", kUsage);
    return 0;
  }
  ::benchmark::Initialize(&argc, argv);
  if (::benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  keep_freed_memory();
  at::set_num_threads(options.threads);
  const at::NoGradGuard no_gradients;
  register_all(operations, options);
  print_environment();
  if (!options.smoke) {
    print_bandwidth();
    print_resolution();
  }
  Table table(/*with_goals=*/!options.smoke);
  const size_t run = ::benchmark::RunSpecifiedBenchmarks(&table);
  return run > 0 && table.errors() == 0 ? 0 : 1;
}

}  // namespace quell::benchmarks

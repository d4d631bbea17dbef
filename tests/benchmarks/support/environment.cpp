#include "tests/benchmarks/support/environment.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/ops/zeros.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <torch/version.h>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include "framework/kernels/fake_quantize.h"
#include "framework/record/environment.h"
#include "tests/benchmarks/support/data.h"

namespace quell::benchmarks {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line.empty() ? "unknown" : line;
}

std::string revision() {
  const std::string command =
      "git -C '" QUELL_SOURCE_DIR "' describe --always --dirty --abbrev=12 2>/dev/null";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> output(popen(command.c_str(), "r"), pclose);
  char line[128] = "";
  if (output == nullptr || std::fgets(line, sizeof line, output.get()) == nullptr) return "unknown";
  const std::string found = line;
  return found.substr(0, found.find('\n'));
}

// GB per second, the median of several passes.
double bandwidth(double bytes, int passes, const std::function<void()>& pass) {
  return bytes / measure(pass, pass, {passes, passes, 0}).own_s * 1e-9;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> environment() {
  return {{"processor", quell::processor()},
          {"cores", std::to_string(std::thread::hardware_concurrency())},
          {"instruction_set", kernels::instruction_set()},
          {"threads", std::to_string(at::get_num_threads())},
          {"load_average", fmt::format("{:.2f}", load_average())},
          {"huge_pages", first_line("/sys/kernel/mm/transparent_hugepage/enabled")},
          {"governor", first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")},
          {"revision", revision()},
          {"libtorch", TORCH_VERSION},
          {"libtorch_cpu_capability", at::get_cpu_capability()},
          {"compiler", __VERSION__}};
}

ProcessorTicks processor_ticks() {
  std::istringstream line(first_line("/proc/stat"));
  std::string name;
  line >> name;
  ProcessorTicks ticks;
  // user nice system idle iowait irq softirq steal
  double value = 0;
  for (int field = 0; field < 8 && line >> value; ++field) {
    ticks.all += value;
    if (field == 7) ticks.stolen = value;
  }
  return ticks;
}

double load_average() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return load;
}

void print_bandwidth() {
  fmt::print(
      "\nbandwidth of this thread, GB/s of bytes read and written\n{:>8} {:>8} {:>10} {:>8}\n",
      "MB", "copy", "streaming", "read");
  for (const int64_t megabytes : {1, 8, 64, 512}) {
    const int64_t size = megabytes << 18;  // floats
    const at::Tensor x = at::zeros({size}), y = at::zeros({size});
    const float* in = x.const_data_ptr<float>();
    float* out = y.mutable_data_ptr<float>();
    const double bytes = static_cast<double>(megabytes << 20);
    const int passes = megabytes > 100 ? 3 : 11;
    fmt::print("{:>8} {:>8.1f} {:>10.1f} {:>8.1f}\n", megabytes,
               bandwidth(2 * bytes, passes, [&] { copy_floats(in, out, size); }),
               bandwidth(2 * bytes, passes, [&] { copy_floats_streaming(in, out, size); }),
               bandwidth(bytes, passes, [&] { ::benchmark::DoNotOptimize(largest_of(in, size)); }));
  }
}

}  // namespace quell::benchmarks

// Compares every CUDA kernel with plain C++ in this program. Exit codes: 0 all agree, 1 a
// difference, 77 no GPU (skipped). --small: for compute-sanitizer.
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <exception>

#include "framework/kernels/cuda.h"
#include "tools/gpu/self_check/check.h"
#include "tools/gpu/self_check/on_device.h"

namespace {

bool print(const quell::gpu::Check& check) {
  const bool good = check.failures == 0 && check.comparisons > 0;
  std::printf("%-6s %-46s %8" PRId64 " comparisons", good ? "ok" : "FAILED", check.name.c_str(),
              check.comparisons);
  if (!good) {
    std::printf(", %" PRId64 " differ; first: %s", check.failures, check.first_failure.c_str());
  }
  std::printf("\n");
  std::fflush(stdout);
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace quell::gpu;
  const bool small = argc > 1 && std::strcmp(argv[1], "--small") == 0;
  if (argc > 2 || (argc == 2 && !small)) {
    std::fprintf(stderr, "usage: %s [--small]\n", argv[0]);
    return 2;
  }
  if (!quell::kernels::cuda::available()) {
    std::printf("gpu_self_check: skipped, there is no GPU (or no driver) on this machine\n");
    return 77;
  }
  cudaDeviceProp device;
  require(cudaGetDeviceProperties(&device, 0));
  std::printf("%s, compute capability %d.%d\n", device.name, device.major, device.minor);
  try {
    bool good = true;
    for (const Check& check : check_quantization(small)) good = print(check) && good;
    for (const Check& check : check_reductions(small)) good = print(check) && good;
    good = print(check_no_synchronization()) && good;
    std::printf(good ? "all operations agree\n" : "some operations DIFFER\n");
    return good ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_self_check: %s\n", error.what());
    return 1;
  }
}

// How fast the kernels are, against a copy of as many bytes in the same regime:
//   gpu_benchmark [RESULT.json]
// DRAM: every launch works on other buffers, together at least four times the L2 cache and 256 MB.
// L2: all launches work on the same ones. Time: CUDA events around 20 replays of a graph of
// launches, medians over rounds that alternate between copy and kernel. Exit code 77: no GPU.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "framework/kernels/cuda.h"

namespace {

namespace cuda = quell::kernels::cuda;

constexpr int kReplays = 20;
constexpr int kRounds = 9;
constexpr int kLaunchesPerGraph = 8;
constexpr int64_t kWorkspaceBytes = 64 << 20;

void require(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "gpu_benchmark: CUDA says: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

struct Shape {
  const char* name;
  int64_t rows, features;
  int64_t size() const { return rows * features; }
};
constexpr Shape kShapes[] = {{"32x128x768", 4096, 768}, {"32x12x128x128", 49152, 128},
                             {"8x384x768", 3072, 768},  {"4x1024x768", 4096, 768},
                             {"3072x768", 3072, 768},   {"4096x4096", 4096, 4096}};

// Three tensors and what they share.
struct Buffers {
  float *x, *dy, *y;
};

struct Parameters {
  float *scale, *zero_point, *min, *max;  // up to 65536 each
  double* moments;                        // 4 x 65536
  int64_t* counts;                        // 65536
  void* workspace;
};

__global__ void fill(float* x, int64_t size, float low, float width, uint32_t seed) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size;
       i += stride) {
    uint32_t h = static_cast<uint32_t>(i) * 2654435761u + seed;
    h = (h ^ (h >> 15)) * 2246822519u;
    h ^= h >> 13;
    const float outlier = h % 1024 == 0 ? 20.0f : 1.0f;
    x[i] = (low + width * static_cast<float>(h >> 8) / 16777216.0f) * outlier;
  }
}

// Four loads in flight per thread, as in the kernels.
__global__ void __launch_bounds__(256) copy(const float4* from, float4* to, int64_t size) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * 256;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; i < size;
       i += 4 * stride) {
    float4 held[4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      if (i + u * stride < size) held[u] = from[i + u * stride];
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      if (i + u * stride < size) to[i + u * stride] = held[u];
    }
  }
}

struct Operation {
  const char* name;
  double bytes_per_value;
  std::function<void(const Shape&, const Buffers&, const Parameters&, cudaStream_t)> launch;
};

constexpr quell::kernels::Levels kLevels = {0, 255};

std::vector<Operation> quantizing_operations() {
  return {
      {"fake_quantize_tensor", 8,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         cuda::fake_quantize_tensor(b.x, b.y, shape.size(), p.scale, p.zero_point, kLevels, stream);
       }},
      {"fake_quantize_tensor, 4 bits", 8,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         cuda::fake_quantize_tensor(b.x, b.y, shape.size(), p.scale, p.zero_point, {0, 15}, stream);
       }},
      {"codes alone (uint8)", 5,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         cuda::fake_quantize_tensor(b.x, nullptr, shape.size(), p.scale, p.zero_point, kLevels,
                                    stream, {b.y, quell::kernels::CodeType::kUint8});
       }},
      {"fake_quantize_channels, columns", 8,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         cuda::fake_quantize_channels(b.x, b.y, shape.rows, shape.features, 1, p.scale,
                                      p.zero_point, kLevels, stream);
       }},
      {"fake_quantize_channels, rows", 8,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         cuda::fake_quantize_channels(b.x, b.y, 1, shape.rows, shape.features, p.scale,
                                      p.zero_point, kLevels, stream);
       }},
      {"fake_quantize_rows_dynamic", 8,
       [](const Shape& shape, const Buffers& b, const Parameters&, cudaStream_t stream) {
         const auto rule = quell::kernels::affine_rule(quell::kernels::Grid::kOs, 8, false);
         cuda::fake_quantize_rows_dynamic(b.x, b.y, shape.rows, shape.features, rule, nullptr,
                                          nullptr, stream);
       }},
      {"dynamic groups of 64", 8,
       [](const Shape& shape, const Buffers& b, const Parameters&, cudaStream_t stream) {
         const auto rule = quell::kernels::affine_rule(quell::kernels::Grid::kOs, 8, false);
         cuda::fake_quantize_rows_dynamic(b.x, b.y, shape.size() / 64, 64, rule, nullptr, nullptr,
                                          stream);
       }},
  };
}

void launch_gradient(int64_t outer, int64_t channels, int64_t inner, const Buffers& b,
                     const Parameters& p, cudaStream_t stream) {
  cuda::fake_quantize_gradient(b.x, b.dy, b.y, outer, channels, inner, p.scale, p.zero_point,
                               kLevels, p.min, p.max, p.workspace, stream);
}

void launch_statistics(int64_t outer, int64_t channels, int64_t inner, const Buffers& b,
                       const Parameters& p, cudaStream_t stream) {
  cuda::Statistics results;
  results.mean = p.moments;
  results.m2 = p.moments + 65536;
  results.m3 = p.moments + 2 * 65536;
  results.m4 = p.moments + 3 * 65536;
  results.min = p.min;
  results.max = p.max;
  results.beyond = p.counts;
  cuda::statistics_channels(b.x, outer, channels, inner, p.scale, results, p.workspace, stream);
}

std::vector<Operation> reducing_operations() {
  return {
      {"fake_quantize_gradient, tensor", 12,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         launch_gradient(1, 1, shape.size(), b, p, stream);
       }},
      {"fake_quantize_gradient, rows", 12,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         launch_gradient(1, shape.rows, shape.features, b, p, stream);
       }},
      {"fake_quantize_gradient, columns", 12,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         launch_gradient(shape.rows, shape.features, 1, b, p, stream);
       }},
      {"min_max, tensor", 4,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         cuda::min_max_channels(b.x, 1, 1, shape.size(), p.min, p.max, p.workspace, stream);
       }},
      {"min_max, columns", 4,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         cuda::min_max_channels(b.x, shape.rows, shape.features, 1, p.min, p.max, p.workspace,
                                stream);
       }},
      {"min_max, tokens", 4,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         cuda::min_max_tokens(b.x, 1, shape.rows, shape.features, nullptr, p.min, p.max, stream);
       }},
      {"histogram, 2048 bins", 4,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         cuda::add_to_histogram(b.x, shape.size(), p.zero_point + 1, p.scale + 1, 2048, true,
                                p.counts, stream);
       }},
      {"statistics, columns", 4,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         launch_statistics(shape.rows, shape.features, 1, b, p, stream);
       }},
      {"statistics, tokens", 4,
       [](const Shape& shape, const Buffers& b, const Parameters& p, cudaStream_t stream) {
         launch_statistics(1, shape.rows, shape.features, b, p, stream);
       }},
  };
}

// As many bytes as the operation moves, half of them read and half written.
Operation copy_of(double bytes_per_value) {
  return {"copy", bytes_per_value,
          [bytes_per_value](const Shape& shape, const Buffers& b, const Parameters&,
                            cudaStream_t stream) {
            const auto size = static_cast<int64_t>(bytes_per_value * shape.size() / 2 / 16);
            // Copies of more than 8 bytes per value reach from x into dy, and from y behind it.
            const auto blocks = static_cast<int>(std::min<int64_t>(2112, (size + 1023) / 1024));
            copy<<<blocks, 256, 0, stream>>>(reinterpret_cast<const float4*>(b.x),
                                             reinterpret_cast<float4*>(b.y), size);
            require(cudaGetLastError());
          }};
}

// Launches on one buffer after the other, recorded once.
class Recording {
 public:
  Recording(const Operation& operation, const Shape& shape, const std::vector<Buffers>& buffers,
            const Parameters& parameters, cudaStream_t stream)
      : stream_(stream), launches_(std::max<int>(kLaunchesPerGraph, buffers.size())) {
    cudaGraph_t graph = nullptr;
    require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (int i = 0; i < launches_; ++i) {
      operation.launch(shape, buffers[i % buffers.size()], parameters, stream);
    }
    require(cudaStreamEndCapture(stream, &graph));
    require(cudaGraphInstantiate(&graph_, graph, 0));
    require(cudaGraphDestroy(graph));
    require(cudaEventCreate(&begin_));
    require(cudaEventCreate(&end_));
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaGraphExecDestroy(graph_);
  }

  // Microseconds per launch.
  double time() const {
    require(cudaGraphLaunch(graph_, stream_));
    require(cudaEventRecord(begin_, stream_));
    for (int i = 0; i < kReplays; ++i) require(cudaGraphLaunch(graph_, stream_));
    require(cudaEventRecord(end_, stream_));
    require(cudaEventSynchronize(end_));
    float milliseconds = 0;
    require(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return milliseconds * 1e3 / (kReplays * launches_);
  }

 private:
  cudaStream_t stream_;
  int launches_;
  cudaGraphExec_t graph_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Result {
  double microseconds, copy_microseconds, of_copy, lowest, highest;  // of_copy: copy time / time
};

Result compare(const Recording& copying, const Recording& operation) {
  std::vector<double> times, copies, ratios;
  copying.time();  // clocks settle
  operation.time();
  for (int round = 0; round < kRounds; ++round) {
    // A, B, B, A: drift falls on both.
    const double first = copying.time(), a = operation.time(), b = operation.time();
    copies.push_back((first + copying.time()) / 2);
    times.push_back((a + b) / 2);
    ratios.push_back(copies.back() / times.back());
  }
  const auto [lowest, highest] = std::minmax_element(ratios.begin(), ratios.end());
  return {median(times), median(copies), median(ratios), *lowest, *highest};
}

float* allocate(int64_t size, float low, float width, uint32_t seed) {
  float* memory = nullptr;
  require(cudaMalloc(&memory, size * sizeof(float)));
  fill<<<1024, 256>>>(memory, size, low, width, seed);
  require(cudaGetLastError());
  return memory;
}

// One allocation of four tensors: the copy of 12 bytes per value needs 1.5 of each.
Buffers make_buffers(int64_t size, uint32_t seed) {
  float* all = allocate(4 * size, -1.0f, 2.0f, seed);
  return {all, all + size, all + 2 * size};
}

Parameters make_parameters() {
  Parameters made{};
  made.scale = allocate(65536, 0.01f, 0.001f, 1);
  made.zero_point = allocate(65536, 0.0f, 0.0f, 2);
  made.min = allocate(65536, 0, 0, 3);
  made.max = allocate(65536, 0, 0, 4);
  const float range[2] = {0.01f, 1.0f};  // scale, then the upper end of the histogram
  require(cudaMemcpy(made.scale, range, sizeof range, cudaMemcpyHostToDevice));
  require(cudaMalloc(&made.moments, 4 * 65536 * sizeof(double)));
  require(cudaMalloc(&made.counts, 65536 * sizeof(int64_t)));
  require(cudaMemset(made.counts, 0, 65536 * sizeof(int64_t)));
  require(cudaMalloc(&made.workspace, kWorkspaceBytes));
  require(cudaMemset(made.workspace, 0, kWorkspaceBytes));
  return made;
}

struct Output {
  std::FILE* json;
  bool first = true;

  void print(const Operation& operation, const Shape& shape, const char* regime, const Result& r) {
    const double gigabytes = operation.bytes_per_value * shape.size() / r.microseconds / 1e3;
    std::printf("%-34s %-14s %-5s %9.2f us %8.0f GB/s %6.2f of copy (%.2f to %.2f)\n",
                operation.name, shape.name, regime, r.microseconds, gigabytes, r.of_copy, r.lowest,
                r.highest);
    std::fflush(stdout);
    if (json == nullptr) return;
    std::fprintf(json,
                 "%s\n    {\"operation\": \"%s\", \"shape\": \"%s\", \"regime\": \"%s\", "
                 "\"microseconds\": %.4f, \"gigabytes_per_second\": %.2f, "
                 "\"copy_microseconds\": %.4f, \"of_copy\": %.4f, \"lowest\": %.4f, "
                 "\"highest\": %.4f}",
                 first ? "" : ",", operation.name, shape.name, regime, r.microseconds, gigabytes,
                 r.copy_microseconds, r.of_copy, r.lowest, r.highest);
    first = false;
  }
};

void measure(const Shape& shape, int64_t l2_bytes, const Parameters& parameters,
             cudaStream_t stream, Output& output) {
  // Of four tensors an operation touches at least one.
  const int64_t cold = std::max<int64_t>(256 << 20, 4 * l2_bytes);
  const int64_t sets = cold / (shape.size() * 4) + 1;
  std::vector<Buffers> buffers;
  for (int64_t i = 0; i < sets; ++i) {
    buffers.push_back(make_buffers(shape.size(), static_cast<uint32_t>(i)));
  }
  require(cudaDeviceSynchronize());
  std::vector<Operation> operations = quantizing_operations();
  for (Operation& operation : reducing_operations()) operations.push_back(operation);
  for (const bool hot : {false, true}) {
    const std::vector<Buffers> used = hot ? std::vector<Buffers>{buffers[0]} : buffers;
    for (const Operation& operation : operations) {
      const Recording copying(copy_of(operation.bytes_per_value), shape, used, parameters, stream);
      const Recording recorded(operation, shape, used, parameters, stream);
      output.print(operation, shape, hot ? "L2" : "DRAM", compare(copying, recorded));
    }
  }
  for (const Buffers& set : buffers) require(cudaFree(set.x));
}

int attribute(cudaDeviceAttr name) {
  int value = 0;
  require(cudaDeviceGetAttribute(&value, name, 0));
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  if (!cuda::available()) {
    std::printf("gpu_benchmark: skipped, there is no GPU (or no driver) on this machine\n");
    return 77;
  }
  cudaDeviceProp device;
  require(cudaGetDeviceProperties(&device, 0));
  const int clock = attribute(cudaDevAttrClockRate) / 1000;
  const int memory_clock = attribute(cudaDevAttrMemoryClockRate) / 1000;
  std::printf("%s, %d SMs, L2 %d MB, highest clocks %d MHz, memory %d MHz\n", device.name,
              device.multiProcessorCount, device.l2CacheSize >> 20, clock, memory_clock);
  Output output{argc > 1 ? std::fopen(argv[1], "w") : nullptr};
  if (argc > 1 && output.json == nullptr) {
    std::fprintf(stderr, "gpu_benchmark: cannot write %s\n", argv[1]);
    return 1;
  }
  if (output.json != nullptr) {
    std::fprintf(output.json,
                 "{\"device\": \"%s\", \"multiprocessors\": %d, \"l2_bytes\": %d, "
                 "\"highest_clock_mhz\": %d, \"memory_clock_mhz\": %d, \"results\": [",
                 device.name, device.multiProcessorCount, device.l2CacheSize, clock, memory_clock);
  }
  cudaStream_t stream = nullptr;
  require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const Parameters parameters = make_parameters();
  for (const Shape& shape : kShapes) {
    measure(shape, device.l2CacheSize, parameters, stream, output);
  }
  if (output.json != nullptr) {
    std::fprintf(output.json, "\n]}\n");
    std::fclose(output.json);
  }
  return 0;
}

// The kernels that exist on CPU and GPU, wherever the tensor lives: the one door to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "framework/kernels/codes.h"
#include "framework/kernels/grid.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

enum class DeviceKind { kCpu, kCuda };

// Where a kernel runs and what it needs there.
struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  ParallelFor parallel_for = serial_for;  // CPU
  std::ptrdiff_t offset = 0;              // CPU: the memory is so many bytes behind its address
  int index = 0;                          // CUDA: of the GPU
  void* stream = nullptr;                 // CUDA: a cudaStream_t
  void* workspace = nullptr;              // CUDA: for reductions, see workspace_bytes()
};

// Whether the program has kernels for CUDA, and the machine a GPU that can run them.
bool has_cuda();
// What its maker calls that GPU.
std::string cuda_name(int index);

// Functions that need a workspace, which is what cuda.h says of one; 0 bytes on the CPU.
enum class Reduction { kRange, kGradient };
int64_t workspace_bytes(const Device& device, Reduction reduction, int64_t outer, int64_t channels,
                        int64_t inner);

// All pointers are memory of that device. Shapes: see fake_quantize.h; scale, zero_point: [1] for
// a tensor, else [channels].
void fake_quantize_tensor(const Device& device, const float* x, float* y, int64_t size,
                          const float* scale, const float* zero_point, Levels levels);
void fake_quantize_channels(const Device& device, const float* x, float* y, int64_t outer,
                            int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels);
void fake_quantize_rows_dynamic(const Device& device, const float* x, float* y, int64_t rows,
                                int64_t features, const AffineRule& rule, float* scale,
                                float* zero_point);

// quantize_codes.h; `y` may be null. False where the CPU met a NaN, which has no code; a GPU gives
// it the lowest one and does not tell.
bool quantize_codes_tensor(const Device& device, const float* x, Codes codes, int64_t size,
                           const float* scale, const float* zero_point, Levels levels, float* y);
bool quantize_codes_channels(const Device& device, const float* x, Codes codes, int64_t outer,
                             int64_t channels, int64_t inner, const float* scale,
                             const float* zero_point, Levels levels, float* y);
bool quantize_codes_rows_dynamic(const Device& device, const float* x, Codes codes, int64_t rows,
                                 int64_t features, const AffineRule& rule, float* scale,
                                 float* zero_point, float* y);

// fake_quantize_gradient.h
void fake_quantize_gradient(const Device& device, const float* x, const float* dy, float* dx,
                            int64_t outer, int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels, float* dscale,
                            float* dzero_point);

// min_max.h. min, max: [1] for a tensor.
void min_max_tensor(const Device& device, const float* x, int64_t size, float* min, float* max);
void min_max_channels(const Device& device, const float* x, int64_t outer, int64_t channels,
                      int64_t inner, float* min, float* max);
void min_max_tokens(const Device& device, const float* x, int64_t sequences, int64_t length,
                    int64_t features, const int64_t* lengths, float* min, float* max);

// histogram.h, with bins from low to high ([1] each); `magnitudes`: of |x|.
void add_to_histogram(const Device& device, const float* x, int64_t size, const float* low,
                      const float* high, int64_t bins, bool magnitudes, int64_t* counts);

}  // namespace quell::kernels

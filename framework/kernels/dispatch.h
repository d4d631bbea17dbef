// The kernels that exist on CPU and GPU, wherever the tensor lives.
#pragma once

#include <cstdint>

#include "framework/kernels/grid.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

enum class DeviceKind { kCpu, kCuda };

// Where a kernel runs and what it needs there.
struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  ParallelFor parallel_for = serial_for;  // CPU
  void* stream = nullptr;                 // CUDA: a cudaStream_t
  void* workspace = nullptr;              // CUDA: for reductions, see cuda.h
};

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

// fake_quantize_gradient.h
void fake_quantize_gradient(const Device& device, const float* x, const float* dy, float* dx,
                            int64_t outer, int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels, float* dscale,
                            float* dzero_point);

// min_max.h. A whole tensor is [1, 1, size].
void min_max_channels(const Device& device, const float* x, int64_t outer, int64_t channels,
                      int64_t inner, float* min, float* max);

}  // namespace quell::kernels

// Fake quantization wherever the tensor lives.
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
};

// All pointers are memory of that device. Shapes: see fake_quantize.h; scale, zero_point: [1] for
// a tensor, else [channels].
void fake_quantize_tensor(const Device& device, const float* x, float* y, int64_t size,
                          const float* scale, const float* zero_point, Levels levels);
void fake_quantize_channels(const Device& device, const float* x, float* y, int64_t outer,
                            int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels);

}  // namespace quell::kernels

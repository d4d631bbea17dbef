// The CUDA twins of fake_quantize.h: the same bits as on the CPU. Pointers are memory of the
// current device, scale and zero point too, so that nothing waits for the host. Work is queued on
// `stream` (a cudaStream_t; null is the default stream). C++17: nvcc reads this header.
// Errors: std::runtime_error, also from every function of a build without CUDA.
#pragma once

#include <cstdint>

#include "framework/kernels/grid.h"

namespace quell::kernels::cuda {

// Whether this build has the kernels and this machine a GPU that can run them.
bool available();

// x, y: [size]; scale, zero_point: [1].
void fake_quantize_tensor(const float* x, float* y, int64_t size, const float* scale,
                          const float* zero_point, Levels levels, void* stream);

// x, y: [outer, channels, inner]; scale, zero_point: [channels].
void fake_quantize_channels(const float* x, float* y, int64_t outer, int64_t channels,
                            int64_t inner, const float* scale, const float* zero_point,
                            Levels levels, void* stream);

}  // namespace quell::kernels::cuda

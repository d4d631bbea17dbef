// The CUDA twins of the kernels beside this file: the same bits as on the CPU, and for sums (which
// are taken in another order, but always the same one) the same up to the last bits. Pointers are
// memory of the current device, scales, thresholds and results too, so that nothing waits for the
// host and a CUDA graph can record it. Each function is one launch on `stream` (a cudaStream_t;
// null is the default stream). C++17: nvcc reads this header. Errors: std::runtime_error, also from
// every function of a build without CUDA.
#pragma once

#include <cstdint>
#include <string>

#include "framework/kernels/codes.h"
#include "framework/kernels/grid.h"

namespace quell::kernels::cuda {

// Whether this build has the kernels and this machine a GPU that can run them.
bool available();
// Of that GPU, by its maker.
std::string name(int index);
// Makes it the current device of the thread.
void select(int index);

// ---- Fake quantization: fake_quantize.h. `y` may be `x`.

// `codes`, where they have data, receive clamp(round(x / scale) + zero_point, low, high) beside or
// instead of `y` (then null), for zero points that are integers. A NaN gets the lowest code.

// x, y: [size]; scale, zero_point: [1].
void fake_quantize_tensor(const float* x, float* y, int64_t size, const float* scale,
                          const float* zero_point, Levels levels, void* stream, Codes codes = {});

// x, y: [outer, channels, inner]; scale, zero_point: [channels]. Static groups of features are the
// channels of [rows, groups, group size].
void fake_quantize_channels(const float* x, float* y, int64_t outer, int64_t channels,
                            int64_t inner, const float* scale, const float* zero_point,
                            Levels levels, void* stream, Codes codes = {});

// Every row of x [rows, features] by its own range; up to 8192 features it is read once. scale,
// zero_point: [rows], either may be null. Dynamic groups are rows of [rows * groups, group size].
void fake_quantize_rows_dynamic(const float* x, float* y, int64_t rows, int64_t features,
                                const AffineRule& rule, float* scale, float* zero_point,
                                void* stream, Codes codes = {});

// ---- Reductions. `workspace`: workspace_bytes() on the device, aligned to 16 bytes and zeroed
// once when it is allocated; calls leave it ready for the next one, of any function and shape that
// fits, but two streams must not share it. Their order of sums depends on the shape alone.

enum class Reduction { kRange, kGradient, kStatistics };
int64_t workspace_bytes(Reduction reduction, int64_t outer, int64_t channels, int64_t inner);

// fake_quantize_gradient.h, with all sums in double. x, dy, dx (may be dy): [outer, channels,
// inner]; the others: [channels].
void fake_quantize_gradient(const float* x, const float* dy, float* dx, int64_t outer,
                            int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels, float* dscale,
                            float* dzero_point, void* workspace, void* stream);

// min_max.h. x: [outer, channels, inner]; min, max: [channels]. A whole tensor is [1, 1, size].
void min_max_channels(const float* x, int64_t outer, int64_t channels, int64_t inner, float* min,
                      float* max, void* workspace, void* stream);

// One range per token. x: [sequences, length, features], of which only the first lengths[i] tokens
// of sequence i count; null means all. min, max: [sum of lengths], the valid tokens in their order,
// without gaps. Lengths outside of [0, length] count as the nearest bound.
void min_max_tokens(const float* x, int64_t sequences, int64_t length, int64_t features,
                    const int64_t* lengths, float* min, float* max, void* stream);

// Adds to counts [bins] how many values of x [size] fall into each of `bins` (1 to 2^24) equal bins
// from low to high ([1] each, low < high): x in bin (x - low) * bins / (high - low), cut to an
// integer, in float32; `high` itself in the last one; values outside, and NaN, in none. As
// torch.histc does on the CPU. `magnitudes`: of |x|.
void add_to_histogram(const float* x, int64_t size, const float* low, const float* high,
                      int64_t bins, bool magnitudes, int64_t* counts, void* stream);

// Of each channel: the mean, the sums of (x - mean)^k for k = 2, 3, 4, the range (as in min_max.h)
// and how many |x| exceed the threshold. [channels] each; any may be null. NaN and infinities make
// the moments NaN.
struct Statistics {
  double* mean = nullptr;
  double* m2 = nullptr;
  double* m3 = nullptr;
  double* m4 = nullptr;
  float* min = nullptr;
  float* max = nullptr;
  int64_t* beyond = nullptr;
};

// x: [outer, channels, inner]; threshold: [1], null for none. Tokens are the channels of [1,
// tokens, features].
void statistics_channels(const float* x, int64_t outer, int64_t channels, int64_t inner,
                         const float* threshold, const Statistics& results, void* workspace,
                         void* stream);

}  // namespace quell::kernels::cuda

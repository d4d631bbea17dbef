#include "framework/kernels/dispatch.h"

#include "framework/kernels/cuda.h"
#include "framework/kernels/fake_quantize.h"
#include "framework/kernels/fake_quantize_gradient.h"
#include "framework/kernels/histogram.h"
#include "framework/kernels/min_max.h"
#include "framework/kernels/quantize_codes.h"
#include "framework/kernels/silu.h"

namespace quell::kernels {
namespace {

// Threads begin with the first GPU.
bool on_gpu(const Device& device) {
  if (device.kind != DeviceKind::kCuda) return false;
  cuda::select(device.index);
  return true;
}

// Where the memory of a device that is a CPU can be touched.
template <class T>
T* open(const Device& device, T* pointer) {
  if (pointer == nullptr || device.offset == 0) return pointer;
  return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(pointer) + device.offset);
}

Codes open(const Device& device, Codes codes) { return {open(device, codes.data), codes.type}; }

}  // namespace

bool has_cuda() { return cuda::available(); }

std::string cuda_name(int index) { return cuda::name(index); }

int64_t workspace_bytes(const Device& device, Reduction reduction, int64_t outer, int64_t channels,
                        int64_t inner) {
  if (device.kind == DeviceKind::kCpu) return 0;
  const auto kind =
      reduction == Reduction::kRange ? cuda::Reduction::kRange : cuda::Reduction::kGradient;
  return cuda::workspace_bytes(kind, outer, channels, inner);
}

bool silu(const Device& device, float* values, int64_t count) {
  if (device.kind != DeviceKind::kCpu) return false;
  silu(open(device, values), count, device.parallel_for);
  return true;
}

void fake_quantize_tensor(const Device& device, const float* x, float* y, int64_t size,
                          const float* scale, const float* zero_point, Levels levels) {
  if (on_gpu(device)) {
    cuda::fake_quantize_tensor(x, y, size, scale, zero_point, levels, device.stream);
    return;
  }
  fake_quantize_tensor(open(device, x), open(device, y), size, *open(device, scale),
                       *open(device, zero_point), levels, device.parallel_for);
}

void fake_quantize_channels(const Device& device, const float* x, float* y, int64_t outer,
                            int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels) {
  if (on_gpu(device)) {
    cuda::fake_quantize_channels(x, y, outer, channels, inner, scale, zero_point, levels,
                                 device.stream);
    return;
  }
  fake_quantize_channels(open(device, x), open(device, y), outer, channels, inner,
                         open(device, scale), open(device, zero_point), levels,
                         device.parallel_for);
}

void fake_quantize_rows_dynamic(const Device& device, const float* x, float* y, int64_t rows,
                                int64_t features, const AffineRule& rule, float* scale,
                                float* zero_point) {
  if (on_gpu(device)) {
    cuda::fake_quantize_rows_dynamic(x, y, rows, features, rule, scale, zero_point, device.stream);
    return;
  }
  fake_quantize_rows_dynamic(open(device, x), open(device, y), rows, features, rule,
                             open(device, scale), open(device, zero_point), device.parallel_for);
}

bool quantize_codes_tensor(const Device& device, const float* x, Codes codes, int64_t size,
                           const float* scale, const float* zero_point, Levels levels, float* y) {
  if (on_gpu(device)) {
    cuda::fake_quantize_channels(x, y, 1, 1, size, scale, zero_point, levels, device.stream, codes);
    return true;
  }
  return quantize_codes_tensor(open(device, x), open(device, codes), size, *open(device, scale),
                               *open(device, zero_point), levels, open(device, y),
                               device.parallel_for);
}

bool quantize_codes_channels(const Device& device, const float* x, Codes codes, int64_t outer,
                             int64_t channels, int64_t inner, const float* scale,
                             const float* zero_point, Levels levels, float* y) {
  if (on_gpu(device)) {
    cuda::fake_quantize_channels(x, y, outer, channels, inner, scale, zero_point, levels,
                                 device.stream, codes);
    return true;
  }
  return quantize_codes_channels(open(device, x), open(device, codes), outer, channels, inner,
                                 open(device, scale), open(device, zero_point), levels,
                                 open(device, y), device.parallel_for);
}

bool quantize_codes_rows_dynamic(const Device& device, const float* x, Codes codes, int64_t rows,
                                 int64_t features, const AffineRule& rule, float* scale,
                                 float* zero_point, float* y) {
  if (on_gpu(device)) {
    cuda::fake_quantize_rows_dynamic(x, y, rows, features, rule, scale, zero_point, device.stream,
                                     codes);
    return true;
  }
  return quantize_codes_rows_dynamic(open(device, x), open(device, codes), rows, features, rule,
                                     open(device, scale), open(device, zero_point), open(device, y),
                                     device.parallel_for);
}

void fake_quantize_gradient(const Device& device, const float* x, const float* dy, float* dx,
                            int64_t outer, int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels, float* dscale,
                            float* dzero_point) {
  if (on_gpu(device)) {
    cuda::fake_quantize_gradient(x, dy, dx, outer, channels, inner, scale, zero_point, levels,
                                 dscale, dzero_point, device.workspace, device.stream);
    return;
  }
  fake_quantize_gradient(open(device, x), open(device, dy), open(device, dx), outer, channels,
                         inner, open(device, scale), open(device, zero_point), levels,
                         open(device, dscale), open(device, dzero_point), device.parallel_for);
}

void min_max_tensor(const Device& device, const float* x, int64_t size, float* min, float* max) {
  if (on_gpu(device)) {
    cuda::min_max_channels(x, 1, 1, size, min, max, device.workspace, device.stream);
    return;
  }
  const MinMax found = min_max_tensor(open(device, x), size, device.parallel_for);
  *open(device, min) = found.min;
  *open(device, max) = found.max;
}

void min_max_channels(const Device& device, const float* x, int64_t outer, int64_t channels,
                      int64_t inner, float* min, float* max) {
  if (on_gpu(device)) {
    cuda::min_max_channels(x, outer, channels, inner, min, max, device.workspace, device.stream);
    return;
  }
  min_max_channels(open(device, x), outer, channels, inner, open(device, min), open(device, max),
                   device.parallel_for);
}

void min_max_tokens(const Device& device, const float* x, int64_t sequences, int64_t length,
                    int64_t features, const int64_t* lengths, float* min, float* max) {
  if (on_gpu(device)) {
    cuda::min_max_tokens(x, sequences, length, features, lengths, min, max, device.stream);
    return;
  }
  min_max_tokens(open(device, x), sequences, length, features, open(device, lengths),
                 open(device, min), open(device, max), device.parallel_for);
}

void add_to_histogram(const Device& device, const float* x, int64_t size, const float* low,
                      const float* high, int64_t bins, bool magnitudes, int64_t* counts) {
  if (on_gpu(device)) {
    cuda::add_to_histogram(x, size, low, high, bins, magnitudes, counts, device.stream);
    return;
  }
  const Bins where{*open(device, low), *open(device, high), bins};
  if (magnitudes) {
    add_magnitudes_to_histogram(open(device, x), size, where, open(device, counts),
                                device.parallel_for);
  } else {
    add_to_histogram(open(device, x), size, where, open(device, counts), device.parallel_for);
  }
}

}  // namespace quell::kernels

#include "framework/kernels/dispatch.h"

#include "framework/kernels/cuda.h"
#include "framework/kernels/fake_quantize.h"
#include "framework/kernels/fake_quantize_gradient.h"
#include "framework/kernels/histogram.h"
#include "framework/kernels/min_max.h"
#include "framework/kernels/quantize_codes.h"

namespace quell::kernels {

void fake_quantize_tensor(const Device& device, const float* x, float* y, int64_t size,
                          const float* scale, const float* zero_point, Levels levels) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::fake_quantize_tensor(x, y, size, scale, zero_point, levels, device.stream);
    return;
  }
  fake_quantize_tensor(x, y, size, *scale, *zero_point, levels, device.parallel_for);
}

void fake_quantize_channels(const Device& device, const float* x, float* y, int64_t outer,
                            int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::fake_quantize_channels(x, y, outer, channels, inner, scale, zero_point, levels,
                                 device.stream);
    return;
  }
  fake_quantize_channels(x, y, outer, channels, inner, scale, zero_point, levels,
                         device.parallel_for);
}

void fake_quantize_rows_dynamic(const Device& device, const float* x, float* y, int64_t rows,
                                int64_t features, const AffineRule& rule, float* scale,
                                float* zero_point) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::fake_quantize_rows_dynamic(x, y, rows, features, rule, scale, zero_point, device.stream);
    return;
  }
  fake_quantize_rows_dynamic(x, y, rows, features, rule, scale, zero_point, device.parallel_for);
}

bool quantize_codes_tensor(const Device& device, const float* x, Codes codes, int64_t size,
                           const float* scale, const float* zero_point, Levels levels, float* y) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::fake_quantize_channels(x, y, 1, 1, size, scale, zero_point, levels, device.stream, codes);
    return true;
  }
  return quantize_codes_tensor(x, codes, size, *scale, *zero_point, levels, y, device.parallel_for);
}

bool quantize_codes_channels(const Device& device, const float* x, Codes codes, int64_t outer,
                             int64_t channels, int64_t inner, const float* scale,
                             const float* zero_point, Levels levels, float* y) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::fake_quantize_channels(x, y, outer, channels, inner, scale, zero_point, levels,
                                 device.stream, codes);
    return true;
  }
  return quantize_codes_channels(x, codes, outer, channels, inner, scale, zero_point, levels, y,
                                 device.parallel_for);
}

bool quantize_codes_rows_dynamic(const Device& device, const float* x, Codes codes, int64_t rows,
                                 int64_t features, const AffineRule& rule, float* scale,
                                 float* zero_point, float* y) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::fake_quantize_rows_dynamic(x, y, rows, features, rule, scale, zero_point, device.stream,
                                     codes);
    return true;
  }
  return quantize_codes_rows_dynamic(x, codes, rows, features, rule, scale, zero_point, y,
                                     device.parallel_for);
}

void fake_quantize_gradient(const Device& device, const float* x, const float* dy, float* dx,
                            int64_t outer, int64_t channels, int64_t inner, const float* scale,
                            const float* zero_point, Levels levels, float* dscale,
                            float* dzero_point) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::fake_quantize_gradient(x, dy, dx, outer, channels, inner, scale, zero_point, levels,
                                 dscale, dzero_point, device.workspace, device.stream);
    return;
  }
  fake_quantize_gradient(x, dy, dx, outer, channels, inner, scale, zero_point, levels, dscale,
                         dzero_point, device.parallel_for);
}

void min_max_tensor(const Device& device, const float* x, int64_t size, float* min, float* max) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::min_max_channels(x, 1, 1, size, min, max, device.workspace, device.stream);
    return;
  }
  const MinMax found = min_max_tensor(x, size, device.parallel_for);
  *min = found.min;
  *max = found.max;
}

void min_max_channels(const Device& device, const float* x, int64_t outer, int64_t channels,
                      int64_t inner, float* min, float* max) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::min_max_channels(x, outer, channels, inner, min, max, device.workspace, device.stream);
    return;
  }
  min_max_channels(x, outer, channels, inner, min, max, device.parallel_for);
}

void min_max_tokens(const Device& device, const float* x, int64_t sequences, int64_t length,
                    int64_t features, const int64_t* lengths, float* min, float* max) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::min_max_tokens(x, sequences, length, features, lengths, min, max, device.stream);
    return;
  }
  min_max_tokens(x, sequences, length, features, lengths, min, max, device.parallel_for);
}

void add_to_histogram(const Device& device, const float* x, int64_t size, const float* low,
                      const float* high, int64_t bins, bool magnitudes, int64_t* counts) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::add_to_histogram(x, size, low, high, bins, magnitudes, counts, device.stream);
    return;
  }
  const Bins where{*low, *high, bins};
  if (magnitudes) {
    add_magnitudes_to_histogram(x, size, where, counts, device.parallel_for);
  } else {
    add_to_histogram(x, size, where, counts, device.parallel_for);
  }
}

}  // namespace quell::kernels

#include "framework/kernels/dispatch.h"

#include "framework/kernels/cuda.h"
#include "framework/kernels/fake_quantize.h"
#include "framework/kernels/fake_quantize_gradient.h"
#include "framework/kernels/min_max.h"

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

void min_max_channels(const Device& device, const float* x, int64_t outer, int64_t channels,
                      int64_t inner, float* min, float* max) {
  if (device.kind == DeviceKind::kCuda) {
    cuda::min_max_channels(x, outer, channels, inner, min, max, device.workspace, device.stream);
    return;
  }
  min_max_channels(x, outer, channels, inner, min, max, device.parallel_for);
}

}  // namespace quell::kernels

#include "framework/kernels/dispatch.h"

#include "framework/kernels/cuda.h"
#include "framework/kernels/fake_quantize.h"

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

}  // namespace quell::kernels

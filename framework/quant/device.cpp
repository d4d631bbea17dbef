#include "framework/quant/device.h"

#include "framework/base/error.h"
#include "framework/quant/parallel.h"

namespace quell {

kernels::Device host_device() { return {.parallel_for = parallel_for}; }

kernels::Device kernel_device(const at::Tensor& tensor) {
  QUELL_ASSERT(tensor.device().is_cpu(), "models run on the CPU");
  return host_device();
}

}  // namespace quell

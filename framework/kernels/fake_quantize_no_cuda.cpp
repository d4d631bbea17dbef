// Stands in for fake_quantize_cuda.cu in a build without CUDA.
#include <stdexcept>

#include "framework/kernels/cuda.h"

namespace quell::kernels::cuda {
namespace {

[[noreturn]] void refuse() {
  throw std::runtime_error(
      "fake quantization on a GPU: this program was built without CUDA. Keep the tensors on the "
      "CPU, or build where nvcc is found with -DQUELL_CUDA=ON");
}

}  // namespace

bool available() { return false; }

void fake_quantize_tensor(const float*, float*, int64_t, const float*, const float*, Levels,
                          void*) {
  refuse();
}

void fake_quantize_channels(const float*, float*, int64_t, int64_t, int64_t, const float*,
                            const float*, Levels, void*) {
  refuse();
}

}  // namespace quell::kernels::cuda

// Stands in for all *_cuda.cu in a build without CUDA.
#include <stdexcept>

#include "framework/kernels/cuda.h"

namespace quell::kernels::cuda {
namespace {

[[noreturn]] void refuse() {
  throw std::runtime_error(
      "a kernel on a GPU: this program was built without CUDA. Keep the tensors on the CPU, or "
      "build where nvcc is found with -DQUELL_CUDA=ON");
}

}  // namespace

bool available() { return false; }

std::string name(int) { refuse(); }

void select(int) { refuse(); }

void fake_quantize_tensor(const float*, float*, int64_t, const float*, const float*, Levels, void*,
                          Codes) {
  refuse();
}

void fake_quantize_channels(const float*, float*, int64_t, int64_t, int64_t, const float*,
                            const float*, Levels, void*, Codes) {
  refuse();
}

void fake_quantize_rows_dynamic(const float*, float*, int64_t, int64_t, const AffineRule&, float*,
                                float*, void*, Codes) {
  refuse();
}

void fake_quantize_gradient(const float*, const float*, float*, int64_t, int64_t, int64_t,
                            const float*, const float*, Levels, float*, float*, void*, void*) {
  refuse();
}

void min_max_channels(const float*, int64_t, int64_t, int64_t, float*, float*, void*, void*) {
  refuse();
}

void min_max_tokens(const float*, int64_t, int64_t, int64_t, const int64_t*, float*, float*,
                    void*) {
  refuse();
}

void add_to_histogram(const float*, int64_t, const float*, const float*, int64_t, bool, int64_t*,
                      void*) {
  refuse();
}

void statistics_channels(const float*, int64_t, int64_t, int64_t, const float*, const Statistics&,
                         void*, void*) {
  refuse();
}

}  // namespace quell::kernels::cuda

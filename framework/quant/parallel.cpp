// Compiled with OpenMP (see CMakeLists.txt): at::parallel_for is a header, and serial without it.
#include "framework/quant/parallel.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <atomic>

#ifndef _OPENMP
#error "compile this file with -fopenmp"
#endif

namespace quell {

void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& body) {
  const bool gradients = at::GradMode::is_enabled();  // threads have a mode of their own
  at::parallel_for(begin, end, grain, [&](int64_t first, int64_t last) {
    const at::AutoGradMode mode(gradients);
    body(first, last);
  });
}

void for_each_dynamically(int64_t count, const std::function<void(int64_t)>& work) {
  std::atomic<int64_t> next{0};
  const int64_t workers = std::min<int64_t>(count, at::get_num_threads());
  const bool gradients = at::GradMode::is_enabled();
  at::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    const at::AutoGradMode mode(gradients);
    for (int64_t i = next++; i < count; i = next++) work(i);
  });
}

}  // namespace quell

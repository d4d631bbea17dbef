// Compiled with OpenMP (see CMakeLists.txt): at::parallel_for is a header, and serial without it.
#include "framework/quant/parallel.h"

#include <ATen/Parallel.h>

#ifndef _OPENMP
#error "compile this file with -fopenmp"
#endif

namespace quell {

void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(begin, end, grain, body);
}

}  // namespace quell

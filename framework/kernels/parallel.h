// How a kernel uses several threads without owning any: the engine hands in its own loop (that of
// LibTorch's thread pool). Results never depend on it.
#pragma once

#include <cstdint>
#include <functional>

namespace quell::kernels {

// Calls body(first, last) on parts that cover [begin, end) once, each part of at least `grain`
// iterations where possible, and returns when all are done. at::parallel_for does this.
using ParallelFor = void (*)(int64_t begin, int64_t end, int64_t grain,
                             const std::function<void(int64_t, int64_t)>& body);

inline void serial_for(int64_t begin, int64_t end, int64_t /*grain*/,
                       const std::function<void(int64_t, int64_t)>& body) {
  if (begin < end) body(begin, end);
}

}  // namespace quell::kernels

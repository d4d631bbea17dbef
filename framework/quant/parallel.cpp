// Compiled with OpenMP (see CMakeLists.txt): at::parallel_for is a header, and serial without it.
#include "framework/quant/parallel.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <algorithm>
#include <atomic>

#ifndef _OPENMP
#error "compile this file with -fopenmp"
#endif

#ifdef QUELL_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace quell {
namespace {

// Where threads begin and end: ThreadSanitizer does not see it in OpenMP, and is told.
class Fork {
 public:
#ifdef QUELL_THREAD_SANITIZER
  Fork() { __tsan_release(&begin_); }
  ~Fork() { __tsan_acquire(&end_); }
  void enter() { __tsan_acquire(&begin_); }
  void leave() { __tsan_release(&end_); }

 private:
  int64_t begin_, end_;  // two, so that threads are not ordered among each other
#else
  void enter() {}
  void leave() {}
#endif
};

// What a thread does of it, to its end or to an exception.
class Share {
 public:
  explicit Share(Fork& fork) : fork_(fork) { fork_.enter(); }
  ~Share() { fork_.leave(); }
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

 private:
  Fork& fork_;
};

}  // namespace

void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& body) {
  const bool gradients = at::GradMode::is_enabled();  // threads have a mode of their own
  Fork fork;
  at::parallel_for(begin, end, grain, [&](int64_t first, int64_t last) {
    const Share share(fork);
    const at::AutoGradMode mode(gradients);
    body(first, last);
  });
}

void for_each_dynamically(int64_t count, const std::function<void(int64_t)>& work) {
  std::atomic<int64_t> next{0};
  const int64_t workers = std::min<int64_t>(count, at::get_num_threads());
  parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    for (int64_t i = next++; i < count; i = next++) work(i);
  });
}

}  // namespace quell

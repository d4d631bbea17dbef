// Wall time.
#pragma once

#include <chrono>

namespace quell::published {

// Seconds that `work` takes.
template <class Work>
double timed(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace quell::published

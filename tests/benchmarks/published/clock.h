// How long work takes.
#pragma once

#include <chrono>
#include <ctime>

namespace quell::published {

// Seconds that passed, and seconds of all threads of this process: on a busy machine the second say
// more.
struct Time {
  double wall = 0, cpu = 0;

  Time& operator+=(const Time& other) {
    wall += other.wall;
    cpu += other.cpu;
    return *this;
  }
  friend Time operator+(Time a, const Time& b) { return a += b; }
  friend Time operator*(double factor, const Time& time) {
    return {factor * time.wall, factor * time.cpu};
  }
};

template <class Work>
Time timed(const Work& work) {
  const auto wall = std::chrono::steady_clock::now();
  const std::clock_t cpu = std::clock();
  work();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count(),
          static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC};
}

}  // namespace quell::published

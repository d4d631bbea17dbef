// How long work takes, by the clock and of the processor.
#pragma once

#include <chrono>
#include <ctime>
#include <string>

#include "framework/record/run_record.h"

namespace quell {

template <class Work>
PartTime timed(const std::string& part, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t processor_start = std::clock();
  work();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const auto ticks = static_cast<double>(std::clock() - processor_start);
  return {part, elapsed.count(), ticks / CLOCKS_PER_SEC};
}

}  // namespace quell

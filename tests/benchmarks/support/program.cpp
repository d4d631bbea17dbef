#include "tests/benchmarks/support/program.h"

#include <exception>
#include <iostream>

namespace quell::benchmarks {

int guarded(const std::function<int()>& program) {
  try {
    return program();
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}

}  // namespace quell::benchmarks

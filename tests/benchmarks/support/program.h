// The frame of a benchmark program that has its own command line.
#pragma once

#include <functional>

namespace quell::benchmarks {

// The exit status of `program`: what it returns, or 1 where it throws, with the message on stderr.
int guarded(const std::function<int()>& program);

}  // namespace quell::benchmarks

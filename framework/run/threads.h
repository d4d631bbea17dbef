#pragma once

#include <cstdint>

namespace quell {

// How many threads `threads: 0` means: the cores, or as many as QUELL_THREADS says where several
// runs share the machine. Throws ConfigError when that is no number of threads.
int64_t all_threads();

}  // namespace quell

#include "framework/run/threads.h"

#include <fmt/format.h>
#include <algorithm>
#include <cstdlib>
#include <thread>

#include "framework/base/error.h"
#include "framework/config/scalar.h"

namespace quell {

int64_t all_threads() {
  constexpr int64_t kMost = 1024;
  const char* share = std::getenv("QUELL_THREADS");
  const auto threads = share == nullptr || *share == '\0' ? 0 : parse_signed(share);
  if (!threads || *threads < 0 || *threads > kMost) {
    throw ConfigError(
        fmt::format("QUELL_THREADS is \"{}\", expected a number from 1 to {}, or 0 for all cores",
                    share, kMost));
  }
  return *threads > 0 ? *threads : std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace quell

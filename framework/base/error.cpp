#include "framework/base/error.h"

#include <fmt/format.h>
#include <cstdlib>

namespace quell::internal {

void assertion_failed(const char* condition, const char* file, int line,
                      const std::string& message) {
  throw Error(
      fmt::format("internal error: {} ({}:{}: {}); this is a bug in quell, please report it",
                  message, file, line, condition));
}

}  // namespace quell::internal

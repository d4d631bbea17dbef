// Exceptions of quell and the exit codes that they lead to.
#pragma once

#include <stdexcept>
#include <string>

namespace quell {

// A run failed for a reason that is neither the user's configuration nor the data. Exit code 1.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int exit_code = 1)
      : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// The user's configuration or command line is wrong. Exit code 2.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(message, 2) {}
};

// A model, a data set or another input file is missing or broken. Exit code 3.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(message, 3) {}
};

namespace internal {
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line,
                                   const std::string& message);
}

}  // namespace quell

// A bug of ours, never the user's mistake. Kept in release builds: a wrong number costs more.
#define QUELL_ASSERT(condition, message)                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      ::quell::internal::assertion_failed(#condition, __FILE__, __LINE__, (message)); \
    }                                                                                 \
  } while (false)

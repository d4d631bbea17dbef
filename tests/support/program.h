// Runs the program as a user does.
#pragma once

#include <sys/types.h>
#include <filesystem>
#include <string>
#include <vector>

namespace quell {

struct ProgramResult {
  int exit_code = -1;  // -1: killed by a signal
  int signal = 0;
  std::string output;  // standard output
  std::string errors;  // standard error
};

// Runs `command` (a program and its arguments) in `folder` with `input` on standard input.
ProgramResult run_command(const std::vector<std::string>& command,
                          const std::filesystem::path& folder, const std::string& input = "");

// Runs quell.
ProgramResult run_quell(std::vector<std::string> arguments, const std::filesystem::path& folder,
                        const std::string& input = "");

// Starts quell without waiting, its output thrown away.
pid_t start_quell(std::vector<std::string> arguments, const std::filesystem::path& folder);

// A Python 3 that can import the module, or "": what is checked with it is then skipped.
std::string python_with(const std::string& module);

}  // namespace quell

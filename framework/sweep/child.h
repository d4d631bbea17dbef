// A process that runs one cell.
#pragma once

#include <sys/types.h>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace quell {

struct ChildCommand {
  std::vector<std::string> arguments;                            // the program first
  std::vector<std::pair<std::string, std::string>> environment;  // added to our own
  std::filesystem::path output;                                  // gets standard output and error
  int inherited = -1;  // a descriptor that stays open in it
};

// How a process ended.
struct ChildEnd {
  int exit_code = -1;  // -1: killed by `signal`
  int signal = 0;
  bool success() const { return exit_code == 0; }
  // "exit code 3", "killed by signal 9 (Killed)"
  std::string text() const;
};

class Child {
 public:
  // Starts it. It gets a SIGKILL when the thread that started it ends, so that nothing goes on
  // unseen. Throws Error.
  explicit Child(const ChildCommand& command);

  // How it ended, or nothing while it runs. Never waits.
  std::optional<ChildEnd> poll();
  // Waits for the end.
  ChildEnd wait();
  void send(int signal) const;

 private:
  pid_t id_;
};

}  // namespace quell

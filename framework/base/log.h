// What a run tells the user: lines, progress bars, and the same lines with times in log.txt.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace quell {

enum class Verbosity {
  kQuiet,     // nothing on the screen
  kLines,     // plain lines; progress every few seconds (output is not a terminal)
  kTerminal,  // progress bars with rate and time left
};

class Log {
 public:
  explicit Log(Verbosity verbosity) : verbosity_(verbosity), start_(Clock::now()) {}

  // kTerminal where standard error is one, else kLines.
  static Verbosity default_verbosity();

  void info(std::string_view message);
  // `done` of `total` units of work are finished; the same `task` until done == total.
  void progress(std::string_view task, int64_t done, int64_t total);
  // Everything said so far, a time in seconds before each line.
  const std::string& text() const { return text_; }

 private:
  using Clock = std::chrono::steady_clock;
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  Verbosity verbosity_;
  Clock::time_point start_;
  std::string text_;
  std::string task_;  // of the progress being shown
  double task_start_ = 0;
  double last_shown_ = 0;
};

}  // namespace quell

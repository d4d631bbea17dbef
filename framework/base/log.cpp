#include "framework/base/log.h"

#include <fmt/format.h>
#include <unistd.h>
#include <cstdio>

namespace quell {
namespace {

constexpr double kTerminalInterval = 0.1;  // seconds between two drawings of a bar
constexpr double kLineInterval = 10.0;     // seconds between two progress lines

std::string bar(double share) {
  constexpr int kWidth = 24;
  const int filled = static_cast<int>(share * kWidth);
  return fmt::format("[{:=<{}}{: <{}}]", "", filled, "", kWidth - filled);
}

// Of something that is counted per second, or that takes seconds.
std::string speed(double rate) {
  return rate >= 1 || rate == 0 ? fmt::format("{:.0f}/s", rate)
                                : fmt::format("{:.1f} s each", 1 / rate);
}

}  // namespace

Verbosity Log::default_verbosity() {
  return ::isatty(STDERR_FILENO) ? Verbosity::kTerminal : Verbosity::kLines;
}

void Log::info(std::string_view message) {
  text_ += fmt::format("{:8.2f}  {}\n", seconds(), message);
  if (verbosity_ == Verbosity::kTerminal) fmt::print(stderr, "\r\033[K");
  if (verbosity_ != Verbosity::kQuiet) fmt::print(stderr, "{}\n", message);
}

void Log::progress(std::string_view task, int64_t done, int64_t total) {
  const double now = seconds();
  if (task_ != task) {
    task_ = task;
    task_start_ = now;
    last_shown_ = verbosity_ == Verbosity::kTerminal ? 0 : now;
  }
  const bool finished = done >= total;
  const double interval = verbosity_ == Verbosity::kTerminal ? kTerminalInterval : kLineInterval;
  if (verbosity_ != Verbosity::kQuiet && (now - last_shown_ >= interval || finished)) {
    last_shown_ = now;
    const double elapsed = now - task_start_;
    const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
    const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
    if (verbosity_ == Verbosity::kTerminal) {
      fmt::print(stderr, "\r\033[K{} {} {}/{}  {}  {:.0f} s left", task,
                 bar(static_cast<double>(done) / static_cast<double>(total)), done, total,
                 speed(rate), left);
      if (finished) fmt::print(stderr, "\r\033[K");
      std::fflush(stderr);
    } else if (!finished) {
      fmt::print(stderr, "{}: {}/{}, {}, {:.0f} s left\n", task, done, total, speed(rate), left);
    }
  }
  if (finished) task_.clear();
}

}  // namespace quell

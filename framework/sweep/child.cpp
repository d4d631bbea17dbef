#include "framework/sweep/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>

#include "framework/base/error.h"

extern char** environ;

namespace quell {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(
    const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool replaced = false;
    for (const auto& [name, value] : added) {
      replaced |= std::string_view(*entry).starts_with(name + "=");
    }
    if (!replaced) result.emplace_back(*entry);
  }
  for (const auto& [name, value] : added) result.push_back(name + "=" + value);
  return result;
}

ChildEnd end_of(int status) {
  if (WIFEXITED(status)) return {WEXITSTATUS(status), 0};
  return {-1, WTERMSIG(status)};
}

}  // namespace

std::string ChildEnd::text() const {
  if (exit_code >= 0) return fmt::format("exit code {}", exit_code);
  return fmt::format("killed by signal {} ({})", signal, ::strsignal(signal));
}

Child::Child(const ChildCommand& command) {
  // Everything is prepared before the fork: between it and exec only system calls are safe.
  const auto environment = environment_with(command.environment);
  const auto arguments = pointers(command.arguments), variables = pointers(environment);
  const int output = ::open(command.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (output < 0) {
    throw Error(fmt::format("{}: cannot write: {}", command.output.string(), std::strerror(errno)));
  }
  const pid_t parent = ::getpid();
  id_ = ::fork();
  if (id_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);  // it ended before the line above
    const int input = ::open("/dev/null", O_RDONLY);
    ::dup2(input, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    if (command.inherited >= 0) ::fcntl(command.inherited, F_SETFD, 0);
    ::execve(arguments[0], arguments.data(), variables.data());
    ::_exit(127);
  }
  const int error = errno;
  ::close(output);
  if (id_ < 0) throw Error(fmt::format("cannot start a process: {}", std::strerror(error)));
}

std::optional<ChildEnd> Child::poll() {
  int status = 0;
  if (::waitpid(id_, &status, WNOHANG) != id_) return {};
  return end_of(status);
}

ChildEnd Child::wait() {
  int status = 0;
  while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
  }
  return end_of(status);
}

void Child::send(int signal) const { ::kill(id_, signal); }

}  // namespace quell

#include "framework/sweep/slurm_commands.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <sstream>

#include "framework/base/error.h"
#include "framework/config/scalar.h"

extern char** environ;

namespace quell {
namespace {

// A file in memory that catches what a process writes.
class Catcher {
 public:
  Catcher() : descriptor_(::memfd_create("output", MFD_CLOEXEC)) {
    if (descriptor_ < 0) {
      throw Error(fmt::format("cannot start a process: {}", std::strerror(errno)));
    }
  }
  ~Catcher() { ::close(descriptor_); }
  Catcher(const Catcher&) = delete;
  Catcher& operator=(const Catcher&) = delete;

  int descriptor() const { return descriptor_; }
  std::string text() const {
    std::string result;
    std::array<char, 4096> buffer;
    ssize_t size = 0;
    while ((size = ::pread(descriptor_, buffer.data(), buffer.size(),
                           static_cast<off_t>(result.size()))) > 0) {
      result.append(buffer.data(), static_cast<size_t>(size));
    }
    return result;
  }

 private:
  int descriptor_;
};

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \n"), last = text.find_last_not_of(" \n");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

// Standard output of a command that has succeeded.
std::string output_of(const std::vector<std::string>& command, const std::string& way_out) {
  const Catcher output, errors;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output.descriptor(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, errors.descriptor(), STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& text : command) arguments.push_back(const_cast<char*>(text.c_str()));
  arguments.push_back(nullptr);
  pid_t id = 0;
  const int error = ::posix_spawnp(&id, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT) {
    throw ConfigError(fmt::format(
        "--slurm needs {0}, which was not found: submit from a machine of the cluster, or add the "
        "folder of {0} to PATH; without --slurm the sweep runs here",
        command[0]));
  }
  if (error != 0) throw Error(fmt::format("cannot start {}: {}", command[0], std::strerror(error)));
  int status = 0;
  while (::waitpid(id, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output.text();
  throw Error(fmt::format("{} has failed, nothing is submitted; it says:\n{}\n{}",
                          fmt::join(command, " "), trimmed(errors.text() + output.text()),
                          way_out));
}

constexpr const char* kIsItUp = "is the controller of the cluster up? `sinfo` tells";

}  // namespace

bool has_slurm() {
  try {
    output_of({"sbatch", "--version"}, "");
  } catch (const Error&) {
    return false;
  }
  return true;
}

int64_t slurm_max_array_size() {
  constexpr int64_t kDefault = 1001;  // of Slurm
  std::istringstream lines(output_of({"scontrol", "show", "config"}, kIsItUp));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("MaxArraySize")) continue;
    return parse_signed(trimmed(line.substr(line.find('=') + 1))).value_or(kDefault);
  }
  return kDefault;
}

std::vector<QueuedTask> slurm_queued_tasks() {
  // Index in the array, state, script; the script comes last because it may hold any character.
  std::istringstream lines(
      output_of({"squeue", "--me", "--noheader", "--array", "--format=%K|%T|%o"}, kIsItUp));
  std::vector<QueuedTask> tasks;
  for (std::string line; std::getline(lines, line);) {
    const size_t state = line.find('|');
    const size_t script = line.find('|', state + 1);
    if (script == std::string::npos) continue;
    const auto index = parse_signed(line.substr(0, state));
    if (!index || line.substr(state + 1, script - state - 1) == "COMPLETING") continue;
    tasks.push_back({line.substr(script + 1), *index});
  }
  return tasks;
}

std::string slurm_submit(const std::filesystem::path& script) {
  const std::string output =
      output_of({"sbatch", "--parsable", script.string()},
                "what it is asked for comes from the map slurm: of the sweep file");
  const std::string job = trimmed(output);
  return job.substr(0, job.find(';'));  // behind it the cluster
}

}  // namespace quell

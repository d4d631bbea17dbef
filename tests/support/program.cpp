#include "tests/support/program.h"
#include "tests/support/paths.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

std::string content(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

// Where a child's standard streams go.
struct Streams {
  std::filesystem::path input, output, errors;
};

void redirect(const std::filesystem::path& file, int flags, int descriptor) {
  const int opened = ::open(file.c_str(), flags, 0600);
  if (opened < 0 || ::dup2(opened, descriptor) < 0) ::_exit(126);
}

pid_t start(const std::vector<std::string>& command, const std::filesystem::path& folder,
            const Streams& streams) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child > 0) return child;
  redirect(streams.input, O_RDONLY, STDIN_FILENO);
  redirect(streams.output, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
  redirect(streams.errors, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
  if (::chdir(folder.c_str()) != 0) ::_exit(126);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

}  // namespace

ProgramResult run_command(const std::vector<std::string>& command,
                          const std::filesystem::path& folder, const std::string& input) {
  const TemporaryFolder place;
  const Streams streams{place.write("input", input), place / "output", place / "errors"};
  const pid_t child = start(command, folder, streams);
  int status = 0;
  ::waitpid(child, &status, 0);
  ProgramResult result;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.output = content(streams.output);
  result.errors = content(streams.errors);
  return result;
}

ProgramResult run_quell(std::vector<std::string> arguments, const std::filesystem::path& folder,
                        const std::string& input) {
  arguments.insert(arguments.begin(), program_path());
  return run_command(arguments, folder, input);
}

pid_t start_quell(std::vector<std::string> arguments, const std::filesystem::path& folder) {
  arguments.insert(arguments.begin(), program_path());
  return start(arguments, folder, {"/dev/null", "/dev/null", "/dev/null"});
}

std::string python_with(const std::string& module) {
  // Modules from packages of the system belong to its own Python, which may not be the first one.
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    if (run_command({python, "-c", "import " + module}, "/").exit_code == 0) return python;
  }
  return "";
}

}  // namespace quell

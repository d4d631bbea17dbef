#include "tests/support/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "framework/cli/verb.h"
#include "tests/support/paths.h"
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

void enter(const std::filesystem::path& folder, const Streams& streams) {
  redirect(streams.input, O_RDONLY, STDIN_FILENO);
  redirect(streams.output, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
  redirect(streams.errors, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
  if (::chdir(folder.c_str()) != 0) ::_exit(126);
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
  enter(folder, streams);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

int wait(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

// Runs `execute(streams)`, which gives the status of waitpid, and collects what it wrote.
template <class Execute>
ProgramResult collected(const std::string& input, const Execute& execute) {
  const TemporaryFolder place;
  const Streams streams{place.write("input", input), place / "output", place / "errors"};
  const int status = execute(streams);
  ProgramResult result;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.output = content(streams.output);
  result.errors = content(streams.errors);
  return result;
}

// A copy of the test's process from before its first test, whose own copies are quell: a start
// takes a millisecond, where loading LibTorch takes a third of a second.
class LoadedProgram final : public testing::Environment {
 public:
  void SetUp() override;
  void TearDown() override;
  // The status of waitpid.
  int run(const std::vector<std::string>& arguments, const std::filesystem::path& folder,
          const Streams& streams);

 private:
  [[noreturn]] static void serve(int socket);

  int socket_ = -1;
  pid_t server_ = -1;
};
LoadedProgram* const loaded_program = new LoadedProgram;  // belongs to GoogleTest
const testing::Environment* const registered = testing::AddGlobalTestEnvironment(loaded_program);

void write_all(int file, const void* data, size_t size) {
  for (const char* at = static_cast<const char*>(data); size > 0;) {
    const ssize_t written = ::write(file, at, size);
    if (written <= 0) throw std::runtime_error("the loaded program is gone");
    at += written;
    size -= static_cast<size_t>(written);
  }
}

// False at the end.
bool read_all(int file, void* data, size_t size) {
  for (char* at = static_cast<char*>(data); size > 0;) {
    const ssize_t found = ::read(file, at, size);
    if (found <= 0) return false;
    at += found;
    size -= static_cast<size_t>(found);
  }
  return true;
}

void LoadedProgram::SetUp() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::runtime_error("no sockets");
  }
  std::fflush(nullptr);  // what is printed already belongs to the test
  server_ = ::fork();
  if (server_ < 0) throw std::runtime_error("cannot fork");
  if (server_ == 0) {
    ::close(ends[0]);
    serve(ends[1]);
  }
  ::close(ends[1]);
  socket_ = ends[0];
}

void LoadedProgram::TearDown() {
  ::close(socket_);
  ::waitpid(server_, nullptr, 0);
}

int LoadedProgram::run(const std::vector<std::string>& arguments,
                       const std::filesystem::path& folder, const Streams& streams) {
  std::vector<std::string> request = {folder, streams.input, streams.output, streams.errors};
  request.insert(request.end(), arguments.begin(), arguments.end());
  const size_t count = request.size();
  write_all(socket_, &count, sizeof count);
  for (const std::string& text : request) {
    const size_t size = text.size();
    write_all(socket_, &size, sizeof size);
    write_all(socket_, text.data(), size);
  }
  int status = 0;
  if (!read_all(socket_, &status, sizeof status)) {
    throw std::runtime_error("the loaded program is gone");
  }
  return status;
}

void LoadedProgram::serve(int socket) {
  size_t count = 0;
  while (read_all(socket, &count, sizeof count)) {
    std::vector<std::string> request(count);
    for (std::string& text : request) {
      size_t size = 0;
      read_all(socket, &size, sizeof size);
      text.resize(size);
      read_all(socket, text.data(), size);
    }
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(socket);
      enter(request[0], {request[1], request[2], request[3]});
      std::exit(run_program({request.begin() + 4, request.end()}));
    }
    const int status = wait(child);
    write_all(socket, &status, sizeof status);
  }
  ::_exit(0);
}

}  // namespace

ProgramResult run_command(const std::vector<std::string>& command,
                          const std::filesystem::path& folder, const std::string& input) {
  return collected(input,
                   [&](const Streams& streams) { return wait(start(command, folder, streams)); });
}

ProgramResult run_quell(std::vector<std::string> arguments, const std::filesystem::path& folder,
                        const std::string& input) {
  if (!arguments.empty() && arguments[0] == "sweep") {  // it starts its own file
    arguments.insert(arguments.begin(), program_path());
    return run_command(arguments, folder, input);
  }
  return collected(input, [&](const Streams& streams) {
    return loaded_program->run(arguments, folder, streams);
  });
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

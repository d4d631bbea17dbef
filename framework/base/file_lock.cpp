#include "framework/base/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "framework/base/error.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

// Whether the path still names the file of the descriptor: its last owner may have removed it.
bool is_file_at(const fs::path& path, int descriptor) {
  struct stat ours {};
  struct stat there {};
  return ::fstat(descriptor, &ours) == 0 && ::stat(path.c_str(), &there) == 0 &&
         ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

}  // namespace

FileLock::FileLock(fs::path file, int descriptor, int operation)
    : file_(std::move(file)), descriptor_(descriptor) {
  int result = 0;
  do {
    result = ::flock(descriptor_, operation | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return;
  state_ = errno == EWOULDBLOCK ? State::kBusy : State::kUnsupported;
  ::close(std::exchange(descriptor_, -1));
}

FileLock FileLock::exclusive(const fs::path& file) {
  for (;;) {
    const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) {
      throw Error(fmt::format("{}: cannot create: {}; choose another folder with --output",
                              file.string(), std::strerror(errno)));
    }
    FileLock lock(file, descriptor, LOCK_EX);
    if (!lock.held() || is_file_at(file, descriptor)) return lock;
  }
}

FileLock FileLock::wait_exclusive(const fs::path& file) {
  constexpr auto kInterval = std::chrono::milliseconds(20);
  for (;;) {
    FileLock lock = exclusive(file);
    if (lock.state() != State::kBusy) return lock;
    std::this_thread::sleep_for(kInterval);
  }
}

FileLock FileLock::shared(const fs::path& file) {
  return {file, ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), LOCK_SH};
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileLock::FileLock(FileLock&& other) noexcept
    : file_(std::move(other.file_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      state_(other.state_) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(state_, other.state_);
  return *this;
}

void FileLock::remove_file() {
  std::error_code left_behind;
  if (state_ != State::kBusy) fs::remove(file_, left_behind);
}

}  // namespace quell

#include "framework/base/input_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "framework/base/error.h"

namespace quell {

InputFile::InputFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    throw DataError(fmt::format("{}: cannot open: {}", path.string(), std::strerror(errno)));
  }
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw DataError(fmt::format("{}: not a file{}", path.string(),
                                S_ISDIR(status.st_mode) ? " but a folder" : ""));
  }
  size_ = static_cast<size_t>(status.st_size);
  try {
    refuse_git_lfs_pointer();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(std::exchange(other.size_, 0)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

void InputFile::read(size_t offset, size_t size, void* destination) const {
  char* next = static_cast<char*>(destination);
  while (size > 0) {
    const ssize_t count = ::pread(descriptor_, next, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      throw DataError(
          fmt::format("{}: cannot read {} bytes at position {}: {}", path_.string(), size, offset,
                      count < 0 ? std::strerror(errno) : "the file ends before; it is truncated"));
    }
    next += count;
    offset += static_cast<size_t>(count);
    size -= static_cast<size_t>(count);
  }
}

std::string InputFile::read(size_t offset, size_t size) const {
  // Checked first, so that a wrong size in a broken file does not allocate memory.
  if (offset > size_ || size > size_ - offset) {
    throw DataError(fmt::format("{}: cannot read {} bytes at position {}: the file has {} bytes",
                                path_.string(), size, offset, size_));
  }
  std::string bytes(size, '\0');
  read(offset, size, bytes.data());
  return bytes;
}

std::string InputFile::read_all(size_t most) const {
  const auto check = [&](size_t size) {
    if (size <= most) return;
    throw DataError(
        fmt::format("{}: has more than {} bytes, which is too much for a file of its "
                    "kind",
                    path_.string(), most));
  };
  check(size_);
  std::string bytes = read(0, size_);
  // Files of /proc have no size, and a log may grow meanwhile.
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t count =
        ::pread(descriptor_, buffer.data(), buffer.size(), static_cast<off_t>(bytes.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw DataError(fmt::format("{}: cannot read: {}", path_.string(), std::strerror(errno)));
    }
    if (count == 0) return bytes;
    bytes.append(buffer.data(), static_cast<size_t>(count));
    check(bytes.size());
  }
}

void InputFile::refuse_git_lfs_pointer() const {
  constexpr std::string_view kStart = "version https://git-lfs";
  constexpr size_t kLargestPointer = 1024;
  if (size_ > kLargestPointer || size_ < kStart.size() || read(0, kStart.size()) != kStart) return;
  throw DataError(fmt::format(
      "{}: a Git LFS pointer, not the file itself; fetch it with `git lfs pull`", path_.string()));
}

}  // namespace quell

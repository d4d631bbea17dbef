#include "framework/base/file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <unistd.h>

#include "framework/base/error.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

void flush_to_disk(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY);
  if (descriptor < 0) return;
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  // Some file systems cannot flush; anything else (no space, broken disk) would lose data.
  if (result != 0 && error != EINVAL && error != ENOSYS) {
    throw Error(std::strerror(error));
  }
}

}  // namespace

std::string read_file(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) throw DataError(fmt::format("{}: no such file", path.string()));
  if (fs::is_directory(path, error)) {
    throw DataError(fmt::format("{}: is a folder, expected a file", path.string()));
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    throw DataError(fmt::format("{}: cannot read: {}", path.string(), std::strerror(errno)));
  }
  std::string content((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (stream.bad()) throw DataError(fmt::format("{}: error while reading", path.string()));
  return content;
}

void write_atomically(const fs::path& path,
                      const std::function<void(const fs::path& temporary)>& write) {
  const fs::path temporary = path.string() + fmt::format(".{}.partial", ::getpid());
  try {
    write(temporary);
    flush_to_disk(temporary);
    fs::rename(temporary, path);
  } catch (const std::exception& failure) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw Error(fmt::format("{}: cannot write: {}; free some space or choose another folder with "
                            "--output",
                            path.string(), failure.what()));
  }
}

void write_file(const fs::path& path, std::string_view content) {
  write_atomically(path, [&](const fs::path& temporary) {
    std::FILE* file = std::fopen(temporary.c_str(), "wb");
    if (file == nullptr) throw Error(std::strerror(errno));
    const bool written = std::fwrite(content.data(), 1, content.size(), file) == content.size();
    const int error = errno;
    if (std::fclose(file) != 0 || !written) throw Error(std::strerror(written ? errno : error));
  });
}

}  // namespace quell

#include "framework/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include "framework/base/error.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

// What the operating system refused; write_atomically() turns it into an Error with the way out.
[[noreturn]] void throw_errno() { throw std::system_error(errno, std::generic_category()); }

void flush_to_disk(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw_errno();
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  // Some file systems cannot flush; anything else (no space, broken disk) would lose data.
  if (result != 0 && error != EINVAL && error != ENOSYS) {
    errno = error;
    throw_errno();
  }
}

std::string reason_and_way_out(const fs::path& path, const std::error_code& error) {
  const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
  switch (error.value()) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return fmt::format("{}; free some space or choose another folder", error.message());
    case ENOENT:
      return fmt::format("the folder {} does not exist; create it or choose another", folder);
    case ENOTDIR:
      return fmt::format("{} is not a folder; choose another", folder);
    case EISDIR:
      return "a folder of that name exists; choose another name";
    case EACCES:
    case EPERM:
    case EROFS:
      return fmt::format("{}; the folder {} must be writable; choose another", error.message(),
                         folder);
    default:
      return fmt::format("{}; choose another folder", error.message());
  }
}

}  // namespace

std::string read_file(const fs::path& path) {
  const auto fail = [&](const std::string& why) {
    throw DataError(fmt::format("{}: {}", path.string(), why));
  };
  std::error_code error;
  if (fs::is_directory(path, error)) fail("is a folder, expected a file");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (!file) {
    fail(errno == ENOENT ? "no such file" : fmt::format("cannot read: {}", std::strerror(errno)));
  }
  std::string content;
  std::array<char, 1 << 16> buffer;
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    content.append(buffer.data(), count);
  }
  if (std::ferror(file.get())) fail(fmt::format("cannot read: {}", std::strerror(errno)));
  return content;
}

void write_atomically(const fs::path& path,
                      const std::function<void(const fs::path& temporary)>& write) {
  std::error_code ignored;
  const bool device = fs::is_other(path, ignored);  // a device or pipe: neither file nor folder
  const fs::path temporary =
      device ? path : fs::path(path.string() + fmt::format(".{}.partial", ::getpid()));
  const auto clean_up = [&] {
    if (!device) fs::remove(temporary, ignored);
  };
  try {
    write(temporary);
    if (!device) {
      flush_to_disk(temporary);
      fs::rename(temporary, path);
    }
  } catch (const std::system_error& failure) {
    clean_up();
    throw Error(fmt::format("{}: cannot write: {}", path.string(),
                            reason_and_way_out(path, failure.code())));
  } catch (const std::exception& failure) {
    clean_up();
    const auto* ours = dynamic_cast<const Error*>(&failure);
    throw Error(fmt::format("{}: not written: {}", path.string(), failure.what()),
                ours ? ours->exit_code() : 1);
  }
}

void write_file(const fs::path& path, std::string_view content) {
  write_atomically(path, [&](const fs::path& temporary) {
    OutputFile file(temporary);
    file.write(content);
    file.close();
  });
}

OutputFile::OutputFile(const fs::path& path) : file_(std::fopen(path.c_str(), "wb")) {
  if (file_ == nullptr) throw_errno();
}

OutputFile::~OutputFile() {
  if (file_ != nullptr) std::fclose(file_);
}

void OutputFile::write(const void* data, size_t size) {
  if (size == 0) return;  // fwrite takes no null pointer, which an empty tensor has
  if (std::fwrite(data, 1, size, file_) != size) throw_errno();
}

void OutputFile::close() {
  std::FILE* file = file_;
  file_ = nullptr;
  if (std::fclose(file) != 0) throw_errno();
}

}  // namespace quell

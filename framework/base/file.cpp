#include "framework/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <random>
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

// A power failure must not take the name away again. The file is whole whatever happens here, and
// some file systems flush no folders: nothing to tell anybody.
void flush_name(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

// A name that nobody else has: numbers of processes repeat on the hosts that share a folder.
fs::path temporary_name(const fs::path& path) {
  std::random_device random;
  return path.string() + fmt::format(".{:08x}{:08x}.partial", random(), random());
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

bool is_plain_name(std::string_view name) {
  constexpr std::string_view kOthers = "._=+-";
  return !name.empty() && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [&](unsigned char c) {
           return std::isalnum(c) != 0 || kOthers.find(static_cast<char>(c)) != kOthers.npos;
         });
}

InputFile open_file(const fs::path& path) {
  std::error_code error;
  const bool is_folder = fs::is_directory(path, error);
  if (error == std::errc::no_such_file_or_directory) {
    throw DataError(fmt::format("{}: no such file", path.string()));
  }
  if (is_folder) throw DataError(fmt::format("{}: is a folder, expected a file", path.string()));
  return InputFile(path);
}

std::string read_file(const fs::path& path, size_t most) { return open_file(path).read_all(most); }

void copy_atomically(const fs::path& from, const fs::path& to) {
  const InputFile source = open_file(from);
  write_atomically(to, [&](const fs::path& temporary) {
    constexpr size_t kPiece = 1 << 20;
    OutputFile file(temporary);
    for (size_t offset = 0; offset < source.size(); offset += kPiece) {
      file.write(source.read(offset, std::min(kPiece, source.size() - offset)));
    }
    file.close();
  });
}

void write_atomically(const fs::path& path,
                      const std::function<void(const fs::path& temporary)>& write) {
  std::error_code ignored;
  const bool device = fs::is_other(path, ignored);  // a device or pipe: neither file nor folder
  const fs::path temporary = device ? path : temporary_name(path);
  const auto clean_up = [&] {
    if (!device) fs::remove(temporary, ignored);
  };
  try {
    write(temporary);
    if (!device) {
      flush_to_disk(temporary);
      fs::rename(temporary, path);
      flush_name(path);
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

OutputFile::OutputFile(const fs::path& path) {
  std::error_code ignored;
  // x: neither a file of somebody else nor what a link of that name points to.
  file_ = std::fopen(path.c_str(), fs::is_other(path, ignored) ? "wb" : "wbx");
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

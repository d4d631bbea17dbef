#include "framework/io/scratch_file.h"

#include <fmt/format.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "framework/base/error.h"

namespace quell {

ScratchFile::ScratchFile(const std::filesystem::path& folder, std::string what)
    : folder_(folder), what_(std::move(what)) {
  std::string name = (folder / "scratch.XXXXXX").string();
  file_ = ::mkstemp(name.data());
  if (file_ < 0) fail("cannot be written");
  ::unlink(name.c_str());  // the disk is free again whatever becomes of the run
}

ScratchFile::~ScratchFile() { ::close(file_); }

int64_t ScratchFile::reserve(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  const int64_t begin = end_;
  end_ += bytes;
  return begin;
}

void ScratchFile::write(int64_t begin, const void* data, int64_t bytes) {
  const auto* source = static_cast<const char*>(data);
  for (int64_t done = 0; done < bytes;) {
    const ssize_t count = ::pwrite(file_, source + done, bytes - done, begin + done);
    if (count <= 0) fail("cannot be written; is the disk full?");
    done += count;
  }
}

void ScratchFile::read(int64_t begin, void* data, int64_t bytes) const {
  auto* target = static_cast<char*>(data);
  for (int64_t done = 0; done < bytes;) {
    const ssize_t count = ::pread(file_, target + done, bytes - done, begin + done);
    if (count <= 0) fail("cannot be read");
    done += count;
  }
}

void ScratchFile::fail(const char* problem) const {
  throw Error(
      fmt::format("{}: {} {} ({})", folder_.string(), what_, problem, std::strerror(errno)));
}

}  // namespace quell

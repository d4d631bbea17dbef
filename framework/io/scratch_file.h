// Memory on disk: a file without a name, which is gone with the process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>

namespace quell {

// Several threads may use it at once, on places of their own.
class ScratchFile {
 public:
  // In a folder that exists. Throws Error where it cannot be written. `what` is kept there, for
  // messages: "states between layers".
  ScratchFile(const std::filesystem::path& folder, std::string what);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  // A new place of so many bytes: where it begins.
  int64_t reserve(int64_t bytes);
  // Both throw Error; writing, when the disk is full.
  void write(int64_t begin, const void* data, int64_t bytes);
  void read(int64_t begin, void* data, int64_t bytes) const;

 private:
  [[noreturn]] void fail(const char* problem) const;

  std::filesystem::path folder_;
  std::string what_;
  int file_ = -1;
  std::mutex mutex_;
  int64_t end_ = 0;
};

}  // namespace quell

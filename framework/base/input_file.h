// A file that is read at given positions, without ever leaving it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace quell {

// Reads with system calls, not through a memory map: a file that shrinks or a disk that fails
// while it is read then gives an error instead of a signal.
class InputFile {
 public:
  // Throws DataError when the file is missing, unreadable, not an ordinary file, or only the
  // pointer that Git LFS leaves in place of a large file.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  size_t size() const { return size_; }  // bytes

  // Copies `size` bytes from `offset` to `destination`. Throws DataError at the end of the file.
  void read(size_t offset, size_t size, void* destination) const;
  std::string read(size_t offset, size_t size) const;
  // All bytes until the end. Throws DataError when there are more than `most`.
  std::string read_all(size_t most) const;

 private:
  void refuse_git_lfs_pointer() const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  size_t size_ = 0;
};

}  // namespace quell

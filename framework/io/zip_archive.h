// The uncompressed records of a zip file, as torch.save writes it (libzip does the work).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

struct zip;

namespace quell {

// One thread at a time. All errors are DataError and name the file.
class ZipArchive {
 public:
  explicit ZipArchive(const std::filesystem::path& path);

  std::vector<std::string> names() const;
  bool contains(const std::string& name) const;
  // Bytes of a record; it must exist and be stored without compression or encryption.
  size_t size(const std::string& name) const;
  // Copies a whole record and checks its CRC-32. `size` must be its size.
  void read(const std::string& name, size_t size, void* destination) const;

 private:
  [[noreturn]] void fail(const std::string& name, const std::string& message) const;

  std::filesystem::path path_;
  size_t file_size_;
  std::unique_ptr<zip, void (*)(zip*)> archive_;
};

}  // namespace quell

// The safetensors format: an 8-byte little-endian header length, a JSON header, then raw tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace quell {

// A memory-mapped safetensors file. Opening checks the whole header (lengths, types, offsets,
// overlaps, holes), so that no later read can leave the file.
class SafetensorsFile {
 public:
  // Throws DataError naming the file, the tensor and what was expected.
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::filesystem::path& path() const { return path_; }
  // Tensor names in the order of their data.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const;
  // A copy of the tensor in its stored type and shape. Throws DataError (with a suggestion) when
  // there is none of that name.
  at::Tensor read(const std::string& name) const;
  // Shape as stored, without reading the data.
  const std::vector<int64_t>& shape(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Entry {
    at::ScalarType type;
    std::vector<int64_t> shape;
    size_t begin;
    size_t end;
  };
  const Entry& find(const std::string& name) const;

  std::filesystem::path path_;
  std::vector<std::string> names_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
  const char* mapped_ = nullptr;
  size_t mapped_size_ = 0;
  size_t data_begin_ = 0;
};

// Writes tensors (contiguous copies are made where needed) atomically, in the given order.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace quell

// The safetensors format: an 8-byte little-endian header length, a JSON header, then raw tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/input_file.h"
#include "framework/io/tensor_file.h"

namespace quell {

// Types: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL. Opening checks the whole header (lengths,
// types, shapes, offsets, overlaps, holes), so that no later read can leave the file.
class SafetensorsFile final : public TensorFile {
 public:
  // Throws DataError naming the file, the tensor and what was expected.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const override { return file_.path(); }
  const std::vector<std::string>& names() const override { return names_; }
  bool contains(const std::string& name) const override { return entries_.count(name) > 0; }
  const std::vector<int64_t>& shape(const std::string& name) const override;
  at::ScalarType type(const std::string& name) const override;
  at::Tensor read(const std::string& name) const override;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Entry {
    at::ScalarType type;
    std::vector<int64_t> shape;
    size_t begin;  // bytes from the start of the data
    size_t end;
  };
  struct HeaderReader;
  const Entry& find(const std::string& name) const;
  void check_layout();

  InputFile file_;
  std::vector<std::string> names_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
  size_t data_begin_ = 0;
};

// Writes tensors (on any device, of any stride, of the types above) atomically, in the given
// order. Throws Error for another type, a repeated name, a name that is not UTF-8, or a full disk.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

namespace internal {
// "F32" for at::kFloat; "" for a type that the format (as read here) does not have.
const char* safetensors_dtype(at::ScalarType type);
}  // namespace internal

}  // namespace quell

// A file of named tensors, whatever its format.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace quell {

class TensorFile {
 public:
  virtual ~TensorFile() = default;
  virtual const std::filesystem::path& path() const = 0;
  // Tensor names in the order in which they are stored.
  virtual const std::vector<std::string>& names() const = 0;
  virtual bool contains(const std::string& name) const = 0;
  // Shape and type as stored, without reading the data. These and read() throw DataError (with a
  // suggestion) when there is no tensor of that name.
  virtual const std::vector<int64_t>& shape(const std::string& name) const = 0;
  virtual at::ScalarType type(const std::string& name) const = 0;
  // A contiguous copy of the tensor in its stored type and shape.
  virtual at::Tensor read(const std::string& name) const = 0;
};

// Opens a file of torch.save (.bin, .pt, .pth) or else a safetensors file.
std::unique_ptr<TensorFile> open_tensor_file(const std::filesystem::path& path);

namespace internal {
// Bytes of a tensor, or -1 where the shape is negative, too long or overflows int64.
int64_t checked_bytes(const std::vector<int64_t>& shape, at::ScalarType type);
// An uninitialized tensor; DataError naming the tensor where memory does not suffice.
at::Tensor allocate(const std::filesystem::path& path, const std::string& name,
                    const std::vector<int64_t>& shape, at::ScalarType type);
// Makes every byte of a bool tensor 0 or 1: C++ allows no other, files may hold them.
void normalize_bool(at::Tensor& tensor);
[[noreturn]] void no_such_tensor(const std::filesystem::path& path, const std::string& name,
                                 const std::vector<std::string>& names);
}  // namespace internal

}  // namespace quell

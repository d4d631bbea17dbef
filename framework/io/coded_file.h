// Tensors on grids, stored as codes of as many bits as the grid has: a safetensors file that is
// read as one of float32 values.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "framework/io/safetensors.h"

namespace quell {

// Of a model folder.
inline constexpr const char* kCodedFile = "quantized.safetensors";

// The values are (codes - zero_point) * scale, rounded to float32 after each step, where the tensor
// is seen as [outer, channels, inner] with a scale and a zero point for each channel.
struct CodedTensor {
  at::Tensor codes;  // of the tensor's shape, integers in lowest .. lowest + 2^bits - 1
  int64_t bits = 8;  // 2 to 16
  int64_t lowest = 0;
  int64_t outer = 1, channels = 1;
  at::Tensor scale, zero_point;  // float32 [channels]
};

// Such a file holds for each coded tensor NAME a stream of bits NAME.codes, lowest bit first, then
// NAME.scale and NAME.zero_point, and what else belongs to it as metadata; every other tensor as
// it is. Throws DataError, when it is opened, for what does not fit together.
class CodedFile final : public TensorFile {
 public:
  explicit CodedFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const override { return file_.path(); }
  const std::vector<std::string>& names() const override { return names_; }
  bool contains(const std::string& name) const override;
  const std::vector<int64_t>& shape(const std::string& name) const override;
  at::ScalarType type(const std::string& name) const override;
  // Of a coded one its values.
  at::Tensor read(const std::string& name) const override;
  // Whether it is stored as codes, and these.
  bool is_coded(const std::string& name) const { return entries_.contains(name); }
  CodedTensor read_codes(const std::string& name) const;

 private:
  struct Entry {
    std::vector<int64_t> shape;
    int64_t bits, lowest, outer, channels;
  };
  void add_entry(const std::string& name, const std::string& text);

  SafetensorsFile file_;
  std::vector<std::string> names_;
  std::map<std::string, Entry> entries_;
};

// Throws Error as write_safetensors() does.
void write_coded_file(const std::filesystem::path& path,
                      const std::map<std::string, CodedTensor>& coded,
                      const std::map<std::string, at::Tensor>& others);

// A stream of numbers of `bits` bits each, lowest bit first, uint8 [bytes], and back. `numbers` are
// in [0, 2^bits), of any integer type; int32 [count] comes back.
at::Tensor pack_bits(const at::Tensor& numbers, int64_t bits);
at::Tensor unpack_bits(const at::Tensor& stream, int64_t count, int64_t bits);

}  // namespace quell

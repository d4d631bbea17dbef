#include <fmt/format.h>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/utf8.h"
#include "framework/io/safetensors.h"

namespace quell {
namespace {

using nlohmann::ordered_json;

void check_text(const std::string& text, const char* what) {
  if (find_invalid_utf8(text) != std::string::npos) {
    throw Error(fmt::format("{} is not valid UTF-8, as the safetensors format demands", what));
  }
}

ordered_json header_of(const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  ordered_json header = ordered_json::object();
  for (const auto& [key, text] : metadata) {
    check_text(key, "a metadata key");
    check_text(text, "a metadata value");
    header["__metadata__"][key] = text;
  }
  std::set<std::string> names;
  size_t begin = 0;
  for (const auto& [name, tensor] : tensors) {
    check_text(name, "a tensor name");
    if (name == "__metadata__" || !names.insert(name).second) {
      throw Error(fmt::format("tensor name \"{}\" is reserved or appears twice", name));
    }
    const char* dtype = tensor.defined() ? internal::safetensors_dtype(tensor.scalar_type()) : "";
    if (*dtype == '\0') {
      throw Error(fmt::format("tensor \"{}\" has a type that safetensors does not know", name));
    }
    const size_t end = begin + tensor.nbytes();
    header[name] = {
        {"dtype", dtype}, {"shape", tensor.sizes().vec()}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  return header;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::string header = header_of(tensors, metadata).dump();
  constexpr size_t kAlignment = 8;  // readers that map the file want aligned tensors
  header.resize((header.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  std::array<unsigned char, 8> length;
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<unsigned char>(header.size() >> (8 * i));
  }
  write_atomically(path, [&](const std::filesystem::path& temporary) {
    OutputFile file(temporary);
    file.write(length.data(), length.size());
    file.write(header);
    for (const auto& [name, tensor] : tensors) {
      const at::Tensor plain = tensor.detach().cpu().contiguous();
      file.write(plain.const_data_ptr(), plain.nbytes());
    }
    file.close();
  });
}

}  // namespace quell

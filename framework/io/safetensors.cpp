#include "framework/io/safetensors.h"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>

#include "framework/base/error.h"
#include "framework/json/json.h"

namespace quell {
namespace {

using nlohmann::json;

// The format's own limit: it keeps a wrong length from allocating memory.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kLengthBytes = 8;

struct NamedType {
  const char* name;
  at::ScalarType type;
};
constexpr std::array<NamedType, 10> kTypes = {{{"F64", at::kDouble},
                                               {"F32", at::kFloat},
                                               {"F16", at::kHalf},
                                               {"BF16", at::kBFloat16},
                                               {"I64", at::kLong},
                                               {"I32", at::kInt},
                                               {"I16", at::kShort},
                                               {"I8", at::kChar},
                                               {"U8", at::kByte},
                                               {"BOOL", at::kBool}}};

}  // namespace

// Reads and checks the header of one file.
struct SafetensorsFile::HeaderReader {
  SafetensorsFile& file;

  [[noreturn]] void fail(const std::string& message) const {
    throw DataError(fmt::format("{}: {}", file.path().string(), message));
  }
  [[noreturn]] void fail(const std::string& tensor, const std::string& message) const {
    fail(fmt::format("tensor \"{}\": {}", tensor, message));
  }

  void read() {
    const json header = parse();
    if (!header.is_object()) fail("the header is not a JSON object");
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        read_metadata(value);
      } else {
        file.entries_.emplace(name, entry(name, value));
      }
    }
  }

  json parse() {
    const size_t size = file.file_.size();
    if (size < kLengthBytes) {
      fail(fmt::format("not a safetensors file: it has {} bytes, at least 8 are needed", size));
    }
    std::array<unsigned char, kLengthBytes> bytes;
    file.file_.read(0, kLengthBytes, bytes.data());
    uint64_t length = 0;
    for (size_t i = kLengthBytes; i-- > 0;) length = length << 8 | bytes[i];
    if (length > kMaxHeaderBytes) {
      fail(
          fmt::format("not a safetensors file: its first 8 bytes give a header of {} bytes, at "
                      "most {} are allowed",
                      length, kMaxHeaderBytes));
    }
    if (length > size - kLengthBytes) {
      fail(fmt::format("truncated: the header has {} bytes, but only {} follow", length,
                       size - kLengthBytes));
    }
    file.data_begin_ = kLengthBytes + length;
    // Object, tensor, list: a deeper header is none of this format.
    return parse_json(file.file_.read(kLengthBytes, length), file.path().string() + ": header",
                      {.max_depth = 3});
  }

  void read_metadata(const json& value) {
    if (!value.is_object()) fail("\"__metadata__\" in the header is not an object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) {
        fail(fmt::format("\"__metadata__\" in the header: \"{}\" is not a string", key));
      }
      file.metadata_.emplace(key, text.get<std::string>());
    }
  }

  Entry entry(const std::string& name, const json& value) const {
    if (!value.is_object()) fail(name, "its header entry is not an object");
    for (const char* key : {"dtype", "shape", "data_offsets"}) {
      if (!value.contains(key)) fail(name, fmt::format("\"{}\" is missing in the header", key));
    }
    Entry result;
    result.type = type(name, value["dtype"]);
    for (const int64_t dimension : integers(name, "shape", value["shape"])) {
      result.shape.push_back(dimension);
    }
    const auto offsets = integers(name, "data_offsets", value["data_offsets"]);
    if (offsets.size() != 2) fail(name, "data_offsets are not two numbers");
    result.begin = static_cast<size_t>(offsets[0]);
    result.end = static_cast<size_t>(offsets[1]);
    check_bytes(name, result);
    return result;
  }

  at::ScalarType type(const std::string& name, const json& value) const {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    for (const NamedType& known : kTypes) {
      if (text == known.name) return known.type;
    }
    fail(name, fmt::format("dtype {} is not supported (F64, F32, F16, BF16, I64, I32, I16, I8, U8 "
                           "and BOOL are); convert the tensor",
                           text));
  }

  std::vector<int64_t> integers(const std::string& name, const char* key, const json& list) const {
    std::vector<int64_t> result;
    if (!list.is_array()) fail(name, fmt::format("{} is not a list", key));
    for (const json& value : list) {
      if (!value.is_number_unsigned() ||
          value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        fail(name, fmt::format("{} holds {}, expected whole numbers from 0 to 2^63 - 1", key,
                               value.dump(-1, ' ', true, json::error_handler_t::replace)));
      }
      result.push_back(value.get<int64_t>());
    }
    return result;
  }

  void check_bytes(const std::string& name, const Entry& entry) const {
    const size_t available = file.file_.size() - file.data_begin_;
    if (entry.begin > entry.end || entry.end > available) {
      fail(name, fmt::format("its data from byte {} to {} is not inside the {} bytes of data; the "
                             "file is truncated or damaged",
                             entry.begin, entry.end, available));
    }
    const int64_t bytes = internal::checked_bytes(entry.shape, entry.type);
    if (bytes < 0) fail(name, "its shape has too many dimensions or elements");
    if (entry.end - entry.begin != static_cast<size_t>(bytes)) {
      fail(name, fmt::format("its shape needs {} bytes, data_offsets give it {}", bytes,
                             entry.end - entry.begin));
    }
  }
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  HeaderReader{*this}.read();
  check_layout();
}

// Tensors must fill the data without overlap and without holes; also fills names_.
void SafetensorsFile::check_layout() {
  for (const auto& [name, entry] : entries_) names_.push_back(name);
  std::sort(names_.begin(), names_.end(), [&](const std::string& a, const std::string& b) {
    const Entry& x = entries_.at(a);
    const Entry& y = entries_.at(b);
    return std::tie(x.begin, x.end, a) < std::tie(y.begin, y.end, b);
  });
  size_t expected = 0;
  for (const std::string& name : names_) {
    const Entry& entry = entries_.at(name);
    if (entry.begin != expected) {
      throw DataError(fmt::format(
          "{}: tensor \"{}\": its data starts at byte {}, expected {}: {}; the file is damaged",
          path().string(), name, entry.begin, expected,
          entry.begin < expected ? "it overlaps another tensor" : "a hole lies before it"));
    }
    expected = entry.end;
  }
  const size_t available = file_.size() - data_begin_;
  if (expected != available) {
    throw DataError(
        fmt::format("{}: the tensors take {} bytes, but {} bytes of data follow the "
                    "header; the file is damaged",
                    path().string(), expected, available));
  }
}

const SafetensorsFile::Entry& SafetensorsFile::find(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) internal::no_such_tensor(path(), name, names_);
  return found->second;
}

const std::vector<int64_t>& SafetensorsFile::shape(const std::string& name) const {
  return find(name).shape;
}

at::ScalarType SafetensorsFile::type(const std::string& name) const { return find(name).type; }

at::Tensor SafetensorsFile::read(const std::string& name) const {
  const Entry& entry = find(name);
  at::Tensor tensor = internal::allocate(path(), name, entry.shape, entry.type);
  file_.read(data_begin_ + entry.begin, entry.end - entry.begin, tensor.mutable_data_ptr());
  if (entry.type == at::kBool) internal::normalize_bool(tensor);
  return tensor;
}

const char* internal::safetensors_dtype(at::ScalarType type) {
  const auto* known = std::find_if(kTypes.begin(), kTypes.end(),
                                   [&](const NamedType& named) { return named.type == type; });
  return known == kTypes.end() ? "" : known->name;
}

}  // namespace quell

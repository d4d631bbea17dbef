#include "framework/io/coded_file.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/json/json.h"

namespace quell {
namespace {

constexpr int64_t kByte = 8;
constexpr const char* kParts[] = {".codes", ".scale", ".zero_point"};

int64_t bytes_of(int64_t count, int64_t bits) { return (count * bits + kByte - 1) / kByte; }

int64_t elements(const std::vector<int64_t>& shape) {
  return internal::checked_bytes(shape, at::kByte);  // -1 where it overflows
}

// Reads a stream of numbers of `bits` bits each.
class BitReader {
 public:
  BitReader(const at::Tensor& stream, int64_t count, int64_t bits)
      : from_(stream.const_data_ptr<uint8_t>()), bits_(bits), mask_((uint64_t{1} << bits) - 1) {
    QUELL_ASSERT(stream.numel() == bytes_of(count, bits), "a stream of another length");
  }

  int32_t next() {
    for (; present_ < bits_; present_ += kByte) {
      waiting_ |= static_cast<uint64_t>(*from_++) << present_;
    }
    const auto number = static_cast<int32_t>(waiting_ & mask_);
    waiting_ >>= bits_;
    present_ -= bits_;
    return number;
  }

 private:
  const uint8_t* from_;
  int64_t bits_;
  uint64_t mask_, waiting_ = 0;
  int64_t present_ = 0;  // of the bits that wait
};

std::string metadata_of(const CodedTensor& tensor) {
  const nlohmann::ordered_json json = {{"shape", tensor.codes.sizes().vec()},
                                       {"bits", tensor.bits},
                                       {"lowest", tensor.lowest},
                                       {"outer", tensor.outer},
                                       {"channels", tensor.channels}};
  return json.dump();
}

}  // namespace

at::Tensor pack_bits(const at::Tensor& numbers, int64_t bits) {
  const at::Tensor all = numbers.to(at::kInt).contiguous();
  const int32_t* from = all.const_data_ptr<int32_t>();
  const at::Tensor stream = at::zeros({bytes_of(all.numel(), bits)}, at::kByte);
  uint8_t* to = stream.mutable_data_ptr<uint8_t>();
  uint64_t waiting = 0;
  int64_t count = 0;  // of bits that wait
  for (int64_t i = 0; i < all.numel(); ++i) {
    waiting |= static_cast<uint64_t>(from[i]) << count;
    for (count += bits; count >= kByte; count -= kByte, waiting >>= kByte) {
      *to++ = static_cast<uint8_t>(waiting);
    }
  }
  if (count > 0) *to = static_cast<uint8_t>(waiting);
  return stream;
}

at::Tensor unpack_bits(const at::Tensor& stream, int64_t count, int64_t bits) {
  BitReader reader(stream, count, bits);
  const at::Tensor numbers = at::empty({count}, at::kInt);
  int32_t* to = numbers.mutable_data_ptr<int32_t>();
  for (int64_t i = 0; i < count; ++i) to[i] = reader.next();
  return numbers;
}

CodedFile::CodedFile(const std::filesystem::path& path) : file_(path) {
  for (const auto& [name, text] : file_.metadata()) add_entry(name, text);
  for (const std::string& name : file_.names()) {
    const bool is_part = std::any_of(std::begin(kParts), std::end(kParts), [&](std::string part) {
      return name.ends_with(part) && entries_.contains(name.substr(0, name.size() - part.size()));
    });
    if (!is_part) names_.push_back(name);
  }
  for (const auto& [name, entry] : entries_) names_.push_back(name);
}

void CodedFile::add_entry(const std::string& name, const std::string& text) {
  const std::string where = fmt::format("{}: metadata of \"{}\"", path().string(), name);
  Entry entry;
  try {
    const nlohmann::json json = parse_json(text, where);
    json.at("shape").get_to(entry.shape);
    json.at("bits").get_to(entry.bits);
    json.at("lowest").get_to(entry.lowest);
    json.at("outer").get_to(entry.outer);
    json.at("channels").get_to(entry.channels);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: the file is damaged: {}", where, error.what()));
  }
  constexpr int64_t kMostBits = 16;
  const int64_t count = elements(entry.shape);
  const bool fits = entry.bits >= 2 && entry.bits <= kMostBits &&
                    std::abs(entry.lowest) <= 1 << kMostBits && count > 0 &&
                    count <= std::numeric_limits<int64_t>::max() / kMostBits && entry.outer > 0 &&
                    entry.channels > 0 && entry.outer <= count && count % entry.outer == 0 &&
                    count / entry.outer % entry.channels == 0;
  const auto stored_as = [&](const char* part, at::ScalarType type, int64_t size) {
    const std::string stored = name + part;
    return file_.contains(stored) && file_.type(stored) == type &&
           file_.shape(stored) == std::vector<int64_t>{size};
  };
  if (!fits || !stored_as(".codes", at::kByte, bytes_of(count, entry.bits)) ||
      !stored_as(".scale", at::kFloat, entry.channels) ||
      !stored_as(".zero_point", at::kFloat, entry.channels)) {
    throw DataError(fmt::format(
        "{}: shape, bits, codes and scales do not fit together; the file is damaged", where));
  }
  entries_.emplace(name, std::move(entry));
}

bool CodedFile::contains(const std::string& name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

const std::vector<int64_t>& CodedFile::shape(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? file_.shape(name) : found->second.shape;
}

at::ScalarType CodedFile::type(const std::string& name) const {
  return is_coded(name) ? at::kFloat : file_.type(name);
}

// Nothing but the stream and the values is there at once: tables are large.
at::Tensor CodedFile::read(const std::string& name) const {
  if (!is_coded(name)) return file_.read(name);
  const Entry& entry = entries_.at(name);
  const int64_t count = elements(entry.shape);
  const at::Tensor stream = file_.read(name + ".codes"), scale = file_.read(name + ".scale"),
                   zero_point = file_.read(name + ".zero_point");
  const float* scales = scale.const_data_ptr<float>();
  const float* zero_points = zero_point.const_data_ptr<float>();
  BitReader reader(stream, count, entry.bits);
  at::Tensor values = at::empty(entry.shape, at::kFloat);
  float* to = values.mutable_data_ptr<float>();
  const int64_t inner = count / entry.outer / entry.channels;
  for (int64_t i = 0; i < entry.outer * entry.channels; ++i) {
    const float channel_scale = scales[i % entry.channels];
    const float channel_zero_point = zero_points[i % entry.channels];
    for (int64_t k = 0; k < inner; ++k) {
      const auto code = static_cast<float>(reader.next() + entry.lowest);
      *to++ = (code - channel_zero_point) * channel_scale;
    }
  }
  return values;
}

CodedTensor CodedFile::read_codes(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) internal::no_such_tensor(path(), name, names_);
  const Entry& entry = found->second;
  const at::Tensor numbers =
      unpack_bits(file_.read(name + ".codes"), elements(entry.shape), entry.bits);
  return {.codes = numbers.add(entry.lowest).view(entry.shape),
          .bits = entry.bits,
          .lowest = entry.lowest,
          .outer = entry.outer,
          .channels = entry.channels,
          .scale = file_.read(name + ".scale"),
          .zero_point = file_.read(name + ".zero_point")};
}

void write_coded_file(const std::filesystem::path& path,
                      const std::map<std::string, CodedTensor>& coded,
                      const std::map<std::string, at::Tensor>& others) {
  std::vector<std::pair<std::string, at::Tensor>> tensors(others.begin(), others.end());
  std::map<std::string, std::string> metadata;
  for (const auto& [name, tensor] : coded) {
    tensors.emplace_back(name + ".codes",
                         pack_bits(tensor.codes.to(at::kInt).sub(tensor.lowest), tensor.bits));
    tensors.emplace_back(name + ".scale", tensor.scale);
    tensors.emplace_back(name + ".zero_point", tensor.zero_point);
    metadata[name] = metadata_of(tensor);
  }
  write_safetensors(path, tensors, metadata);
}

}  // namespace quell

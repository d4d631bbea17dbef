#include "framework/export/onnx_model.h"

#include <fmt/format.h>
#include <algorithm>
#include <bit>
#include <cctype>

#include "framework/base/error.h"

namespace quell {
namespace {

// Protobuf's encoding (https://protobuf.dev/programming-guides/encoding).
class Message {
 public:
  void number(int field, int64_t value) {
    varint(static_cast<uint64_t>(field) << 3);
    varint(static_cast<uint64_t>(value));
  }
  void real(int field, float value) {
    constexpr uint64_t kFourBytes = 5;
    varint(static_cast<uint64_t>(field) << 3 | kFourBytes);
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes_ += static_cast<char>(bits >> shift & 0xff);
  }
  // Text, bytes or another message.
  void text(int field, std::string_view value) {
    constexpr uint64_t kLengthFirst = 2;
    varint(static_cast<uint64_t>(field) << 3 | kLengthFirst);
    varint(value.size());
    bytes_ += value;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(uint64_t value) {
    constexpr uint64_t kMore = 0x80;
    for (; value >= kMore; value >>= 7) bytes_ += static_cast<char>(value | kMore);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// Fields of GraphProto.
constexpr int kNode = 1, kGraphName = 2, kInitializer = 5, kInput = 11, kOutput = 12;

std::string value_info(const std::string& name, OnnxType type,
                       const std::vector<std::string>& axes) {
  Message shape;
  for (const std::string& axis : axes) {
    Message dimension;
    const bool is_number = std::all_of(axis.begin(), axis.end(), [](unsigned char character) {
      return std::isdigit(character) != 0;
    });
    if (is_number) {
      dimension.number(1, std::stoll(axis));
    } else {
      dimension.text(2, axis);
    }
    shape.text(1, dimension.bytes());
  }
  Message tensor;
  tensor.number(1, static_cast<int64_t>(type));
  tensor.text(2, shape.bytes());
  Message kind;
  kind.text(1, tensor.bytes());
  Message info;
  info.text(1, name);
  info.text(2, kind.bytes());
  return info.bytes();
}

std::string attribute_bytes(const GraphWriter::Attribute& attribute) {
  constexpr int kReal = 2, kInteger = 3, kText = 4, kIntegers = 8, kType = 20;
  enum Type : int64_t { kIsReal = 1, kIsInteger = 2, kIsText = 3, kIsIntegers = 7 };
  Message message;
  message.text(1, attribute.name);
  if (const auto* real = std::get_if<double>(&attribute.value)) {
    message.real(kReal, static_cast<float>(*real));
    message.number(kType, kIsReal);
  } else if (const auto* integer = std::get_if<int64_t>(&attribute.value)) {
    message.number(kInteger, *integer);
    message.number(kType, kIsInteger);
  } else if (const auto* text = std::get_if<std::string>(&attribute.value)) {
    message.text(kText, *text);
    message.number(kType, kIsText);
  } else {
    for (const int64_t one : std::get<std::vector<int64_t>>(attribute.value)) {
      message.number(kIntegers, one);
    }
    message.number(kType, kIsIntegers);
  }
  return message.bytes();
}

void append(std::string& graph, int field, const std::string& bytes) {
  Message message;
  message.text(field, bytes);
  graph += message.bytes();
}

}  // namespace

void OnnxModel::add_input(const std::string& name, OnnxType type,
                          const std::vector<std::string>& axes) {
  append(graph_, kInput, value_info(name, type, axes));
}

void OnnxModel::add_output(const std::string& name, OnnxType type,
                           const std::vector<std::string>& axes) {
  append(graph_, kOutput, value_info(name, type, axes));
}

void OnnxModel::add_constant(const std::string& name, OnnxType type,
                             const std::vector<int64_t>& shape, std::string_view bytes) {
  constexpr int kAxes = 1, kType = 2, kName = 8, kBytes = 9;
  Message tensor;
  for (const int64_t axis : shape) tensor.number(kAxes, axis);
  tensor.number(kType, static_cast<int64_t>(type));
  tensor.text(kName, name);
  tensor.text(kBytes, bytes);
  append(graph_, kInitializer, tensor.bytes());
}

void OnnxModel::add_operation(const std::string& operation, const std::vector<std::string>& inputs,
                              const std::string& output,
                              const std::vector<GraphWriter::Attribute>& attributes) {
  constexpr int kFrom = 1, kTo = 2, kName = 3, kOperation = 4, kAttribute = 5;
  Message node;
  for (const std::string& input : inputs) node.text(kFrom, input);
  node.text(kTo, output);
  node.text(kName, output);
  node.text(kOperation, operation);
  for (const GraphWriter::Attribute& attribute : attributes) {
    node.text(kAttribute, attribute_bytes(attribute));
  }
  append(graph_, kNode, node.bytes());
}

std::string OnnxModel::bytes(int64_t opset, const std::string& producer) const {
  constexpr int kFormat = 1, kProducer = 2, kGraph = 7, kOpset = 8;
  constexpr int64_t kFormatOfOpset20 = 9, kFormatOfOpset21 = 10;
  Message operations;
  operations.text(1, "");
  operations.number(2, opset);
  Message model;
  model.number(kFormat, opset > 20 ? kFormatOfOpset21 : kFormatOfOpset20);
  model.text(kProducer, producer);
  model.text(kOpset, operations.bytes());
  Message name;
  name.text(kGraphName, "network");
  model.text(kGraph, graph_ + name.bytes());
  constexpr size_t kMost = (size_t{1} << 31) - 1;
  if (model.bytes().size() > kMost) {
    throw ConfigError(
        fmt::format("the ONNX file would have {} bytes and may have {}; quantize more of the "
                    "weights, or take another format",
                    model.bytes().size(), kMost));
  }
  return model.bytes();
}

}  // namespace quell

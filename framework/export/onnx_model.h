// Files of ONNX: as much of them as quell writes. The format is protobuf
// (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), whose numbers of fields are in the
// source file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framework/model/graph_writer.h"

namespace quell {

// Types of elements, by their numbers in ONNX.
enum class OnnxType {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt64 = 7,
  kUint4 = 21,
  kInt4 = 22
};

// A graph that grows operation by operation.
class OnnxModel {
 public:
  // Axes are numbers, or names of sizes that may differ between calls.
  void add_input(const std::string& name, OnnxType type, const std::vector<std::string>& axes);
  void add_output(const std::string& name, OnnxType type, const std::vector<std::string>& axes);
  // `bytes` little-endian, 4-bit elements two to a byte, the first in the lower half.
  void add_constant(const std::string& name, OnnxType type, const std::vector<int64_t>& shape,
                    std::string_view bytes);
  void add_operation(const std::string& operation, const std::vector<std::string>& inputs,
                     const std::string& output,
                     const std::vector<GraphWriter::Attribute>& attributes);

  // The whole file. `opset` is the version of the operations; `producer` is told to readers. Throws
  // ConfigError where it is larger than protobuf allows, 2 GB.
  std::string bytes(int64_t opset, const std::string& producer) const;

 private:
  std::string graph_;
};

}  // namespace quell

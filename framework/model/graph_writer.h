// Where a model writes down what it computes, for other runtimes.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "framework/model/operands.h"

namespace quell {

// A graph of operations on padded batches: ids are [sequences, tokens], rows [sequences, tokens,
// features] of any number of sequences and tokens. Operations are called as ONNX calls them
// (https://onnx.ai/onnx/operators), values by names that the writer gives.
class GraphWriter {
 public:
  using Value = std::string;
  struct Attribute {
    std::string name;
    std::variant<int64_t, double, std::vector<int64_t>, std::string> value;
  };

  virtual ~GraphWriter() = default;
  // "input_ids", "attention_mask" (1: a token, 0: padding) or "token_type_ids", int64.
  virtual Value input(const std::string& name) = 0;
  // Of axes that are numbers, or "sequences" and "tokens".
  virtual void output(const std::string& name, const Value& value,
                      const std::vector<std::string>& axes) = 0;
  virtual Value constant(float value) = 0;
  virtual Value integer(int64_t value) = 0;
  virtual Value integers(const std::vector<int64_t>& values) = 0;
  // A tensor of the model that is no site; the model's tensors need not be loaded while it is
  // only found out whether a graph can be written.
  virtual Value tensor(const at::Tensor& values) = 0;
  virtual Value operation(const std::string& name, const std::vector<Value>& inputs,
                          const std::vector<Attribute>& attributes = {}) = 0;

  // As the operations of a Pass: weights on their grids, and at a site that quantizes a step to its
  // grid and back.
  virtual Value embedding(const EmbeddingTable& table, const Value& ids) = 0;
  virtual Value linear(const Linear& linear, const Value& rows) = 0;
  virtual Value norm(const Norm& norm, const Value& rows) = 0;
  virtual Value activation(SiteId site, const Value& rows) = 0;
};

// Throws ConfigError: `what` has no place in a graph.
[[noreturn]] void refuse_graph(const std::string& what);

}  // namespace quell

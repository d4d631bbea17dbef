// What reads the last rows of a transformer and gives the model's outputs.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/blocks/model_builder.h"

namespace quell {

struct HeadSizes {
  int64_t hidden = 0;
  int64_t labels = 0;
  int64_t vocabulary = 0;
};

class Head {
 public:
  virtual ~Head() = default;

  // Sites and tensors of the head, behind all others.
  virtual void declare(const HeadSizes& sizes, ModelBuilder& builder) = 0;
  // The linear that reads the rows.
  virtual Linear& first_linear() = 0;
  // Whether it reads the first token of each sequence only: the others are then left out behind
  // the last attention, and `rows` may be [sequences, hidden].
  virtual bool reads_first_tokens() const { return false; }
  // What the rows of its outputs are.
  virtual RowsOf output_rows() const { return RowsOf::kSequences; }
  // Whether the outputs are "logits" of the next token.
  virtual bool writes_text() const { return false; }
  // `rows` [target tokens, hidden].
  virtual Outputs run(const Rows& rows, const ModelInput& input, const Pass& pass) const = 0;
  virtual Outputs zero_outputs(const Batch& batch) const = 0;
  // `rows` [sequences, tokens, hidden].
  virtual void write(GraphWriter& writer, const GraphWriter::Value& rows) const;
};

// The first token of each sequence, [sequences, hidden].
GraphWriter::Value write_first_rows(GraphWriter& writer, const GraphWriter::Value& rows);

// The first token of each sequence, [sequences, hidden]; `rows` has them already, or all tokens.
Rows first_rows(const Rows& rows, const ModelInput& input);

}  // namespace quell

// What reads the last rows of a transformer and gives the model's outputs.
#pragma once

#include <ATen/core/Tensor.h>
#include <vector>

#include "framework/model/model.h"
#include "models/blocks/declarations.h"
#include "models/blocks/hf_config.h"

namespace quell {

struct HeadSizes {
  int64_t hidden = 0;
  int64_t labels = 0;
  int64_t vocabulary = 0;
};

class Head {
 public:
  virtual ~Head() = default;

  virtual void expect(const HeadSizes& sizes, std::vector<ExpectedTensor>& expected) const = 0;
  // Sites of the head, behind all others.
  virtual void declare(const HeadSizes& sizes, Declarations& declarations) = 0;
  // The linear that reads the rows.
  virtual const Linear& first_linear() const = 0;
  // Whether it reads the first token of each sequence only: the others are then left out behind
  // the last attention, and `rows` may be [sequences, hidden].
  virtual bool reads_first_tokens() const { return false; }
  // Whether the outputs are "logits" of the next token.
  virtual bool writes_text() const { return false; }
  // `rows` [target tokens, hidden].
  virtual Outputs run(const at::Tensor& rows, const Batch& batch, QuantContext& context) const = 0;
  virtual Outputs zero_outputs(const Batch& batch) const = 0;
};

// The first token of each sequence, [sequences, hidden]; `rows` has them already, or all tokens.
at::Tensor first_rows(const at::Tensor& rows, const Batch& batch);

}  // namespace quell

// Writing text token by token.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <span>
#include <vector>

#include "framework/model/model.h"

namespace quell {

// Whether a model is a decoder alone, which reads what it goes on writing.
bool is_decoder(const Model& model);

// The hypotheses that are being written for the sequences of one batch, all equally long. Keys and
// values of earlier tokens are kept.
class Decoding {
 public:
  // Runs the encoder over the batch, whose decoder side is not looked at; a decoder alone reads
  // nothing yet. Throws ConfigError when the model writes no text. Needs model and pass as long as
  // it lives.
  Decoding(const Model& model, const Batch& batch, const Pass& pass);

  // Writes more tokens of each hypothesis, equally many, one behind another: hypothesis i continues
  // the earlier hypothesis parents[i] with its share of `tokens`. In the first call a parent is the
  // index of a sequence in the batch. Hypotheses of one sequence lie together, in the order of the
  // sequences; those that are no one's parent are dropped. Returns the logits of what follows the
  // last token of each, [hypotheses, vocabulary].
  at::Tensor step(std::span<const int64_t> parents, std::span<const int64_t> tokens);

 private:
  const Model& model_;
  const Pass& pass_;
  Batch batch_;
  Rows encoder_rows_;
  KeyValueCache cache_;
  std::vector<int64_t> sources_;  // [hypotheses], the sequence that each is written for
  int64_t written_ = 0;           // tokens of each hypothesis
};

}  // namespace quell

// Writing text token by token with an encoder-decoder model.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <span>

namespace quell {

// The hypotheses that are being written for the sequences of one batch, all equally long. The
// encoder has run, and keys and values of earlier tokens are kept.
class Decoding {
 public:
  virtual ~Decoding() = default;

  // Writes one more token of each hypothesis: hypothesis i continues the earlier hypothesis
  // parents[i] with tokens[i]. In the first call a parent is the index of a sequence in the batch.
  // Hypotheses of one sequence lie together, in the order of the sequences; those that are no
  // one's parent are dropped. Returns the logits of what follows, [hypotheses, vocabulary].
  virtual at::Tensor step(std::span<const int64_t> parents, std::span<const int64_t> tokens) = 0;
};

}  // namespace quell

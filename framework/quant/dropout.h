// Dropout: while a network is trained, activations are set to zero at random (Srivastava et al.
// 2014), so that it does not lean on any of them.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>

namespace quell {

enum class DropoutPlace {
  kHidden,      // embeddings, and what a block adds to its shortcut
  kAttention,   // attention probabilities
  kActivation,  // between the two linears of a feed-forward block
  kHead,        // what the classifier reads
};

// Probability that a value is dropped, in [0, 1), by place.
struct DropoutRates {
  double hidden = 0;
  double attention = 0;
  double activation = 0;
  double head = 0;
};

// Draws masks. A value's fate follows from the seed, the step, how many masks the step has drawn
// before, and the position of the value: not from the number of threads, nor from whether earlier
// steps were run in this process.
class Dropout {
 public:
  Dropout(const DropoutRates& rates, uint64_t seed) : rates_(rates), seed_(seed) {}

  // To be called before the forward pass of each step.
  void start_step(int64_t step);
  // Zeros, and the other values divided by their probability of staying. Differentiable.
  at::Tensor apply(DropoutPlace place, const at::Tensor& rows);

 private:
  double rate(DropoutPlace place) const;

  DropoutRates rates_;
  uint64_t seed_;
  uint64_t step_ = 0;
  uint64_t masks_ = 0;  // drawn in this step
};

}  // namespace quell

// The search for a threshold as the code of Outlier Suppression+ (Wei et al. 2023) runs it: for
// each candidate composed operations of LibTorch on padded tensors. What quell is timed against.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>

namespace quell::published {

// A group's readers and what they read.
struct SearchedGroup {
  at::Tensor rows;            // [batch, length, features], shifted
  at::Tensor mask;            // bool [batch, length]
  at::Tensor weight;          // [outputs, features], one reader after another
  at::Tensor bias;            // [outputs]; of query, key and value; undefined: none
  int64_t heads = 0;          // of attention; 0: plain outputs are compared, without bias
  int64_t key_heads = 0;      // 0: as many as heads
  at::Tensor cosines, sines;  // [length, head size], of rotary positions; undefined: none
  bool causal = false;
  bool gated = false;  // the product of up and of SiLU of gate is compared, up's rows first
  int64_t bits = 6;    // asymmetric; rows per tensor, weights per row
};

// What readers of float rows and weights give: attention's context, or the outputs.
at::Tensor float_outputs(const SearchedGroup& group);

// The loss of one threshold, whose scale of each feature is given, against float_outputs().
double threshold_loss(const SearchedGroup& group, const at::Tensor& outputs,
                      const at::Tensor& scale, float threshold);

}  // namespace quell::published

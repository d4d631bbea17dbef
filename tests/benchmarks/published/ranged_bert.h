// BERT for sequence classification as the code of Bondarenko et al. (EMNLP 2021) runs it: every
// linear, norm and table has a quantizer of its weight, everything they give one of its own, and so
// have sums and attention's products. Padded batches, operation by operation.
#pragma once

#include <ATen/core/Tensor.h>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/benchmarks/published/bert.h"
#include "tests/benchmarks/published/range_quantizer.h"

namespace quell::published {

class RangedBert {
 public:
  // All quantizers off; 8 bits, weights symmetric.
  explicit RangedBert(const std::filesystem::path& folder);

  at::Tensor logits(const PaddedBatch& batch);
  // 13 for each layer and 5, in the order of execution; their names are those of quell's sites.
  std::deque<RangeQuantizer>& activations() { return activations_; }
  std::deque<RangeQuantizer>& weights() { return weights_; }

 private:
  struct Weight {
    at::Tensor value, bias;
    RangeQuantizer* quantizer;
    at::Tensor quantized;  // once its range is known
  };
  struct Linear {
    Weight weight;
    RangeQuantizer* output;
  };
  using Norm = Linear;
  struct Layer {
    Linear query, key, value, attention_output, intermediate, output;
    RangeQuantizer *scores, *probs, *context, *attention_residual, *residual;
    Norm attention_norm, norm;
  };

  Weight weight(const std::string& module);
  RangeQuantizer* activation(const std::string& name);
  Layer layer(int64_t index);
  static at::Tensor value_of(Weight& weight);
  static at::Tensor product(Linear& linear, const at::Tensor& x);
  at::Tensor normalized(Norm& norm, const at::Tensor& x) const;
  at::Tensor embedded(const PaddedBatch& batch);
  at::Tensor attended(Layer& layer, const at::Tensor& x, const at::Tensor& mask) const;

  int64_t heads_ = 0;
  double epsilon_ = 0;
  std::map<std::string, at::Tensor> tensors_;
  std::deque<RangeQuantizer> weights_, activations_;
  Weight word_, position_, token_type_;
  RangeQuantizer *sum_token_type_, *sum_position_;
  Norm embedding_norm_;
  std::deque<Layer> layers_;
  Linear pooler_, classifier_;
};

}  // namespace quell::published

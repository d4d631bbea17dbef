// BERT for sequence classification as Hugging Face and the code of Outlier Suppression run it: on
// padded batches [batch, length, hidden], operation by operation.
#pragma once

#include <ATen/core/Tensor.h>
#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "framework/model/batch.h"
#include "tests/benchmarks/published/quantizer.h"

namespace quell::published {

struct PaddedBatch {
  at::Tensor ids, types;  // [batch, length] int64
  at::Tensor mask;        // [batch, length] int64, 1 where a token is real

  int64_t sequences() const { return ids.size(0); }
  PaddedBatch to(at::Device device) const {
    return {ids.to(device), types.to(device), mask.to(device)};
  }
};

PaddedBatch pad(const Batch& batch, int64_t length, int64_t pad_id);

class Bert {
 public:
  // The tensors of a model folder in Hugging Face layout, quantizers of weights and activations
  // with `bits`, all switched off; on this device, as batches have to be.
  Bert(const std::filesystem::path& folder, int64_t bits, at::Device device);

  // [batch, labels], with whatever is switched on.
  at::Tensor logits(const PaddedBatch& batch);
  // Every norm but the last loses its gamma to the linears and the shortcut behind it, and gets an
  // epsilon of 1e-5.
  void migrate_gamma();

  void observe_weights(bool on);
  void quantize_weights(bool on);
  void observe_activations(bool on);
  void quantize_activations(bool on);
  std::deque<ActivationQuantizer>& activations() { return activations_; }
  // Weights, biases and gammas: learning leaves them alone, but their gradients are computed.
  std::vector<at::Tensor> parameters() const;

 private:
  struct Linear {
    at::Tensor weight, bias;
    WeightQuantizer* quantizer;
  };
  struct Norm {
    at::Tensor gamma, beta;  // no gamma once it migrated
    double epsilon;
    ActivationQuantizer* quantizer;  // null: not quantized
  };
  struct Layer {
    Linear query, key, value, attention_output, intermediate, output;
    ActivationQuantizer *query_out, *key_out, *value_out, *probs, *context, *gelu;
    Norm attention_norm, output_norm;
    at::Tensor attention_shortcut, output_shortcut;  // gammas, absent before migration
  };

  const at::Tensor& tensor(const std::string& name) const { return tensors_.at(name); }
  WeightQuantizer* weight_quantizer(const std::string& module);
  ActivationQuantizer* activation(const std::string& name,
                                  RangeRule rule = RangeRule::kPruneMinMax);
  Linear linear(const std::string& module);
  Norm norm(const std::string& module, bool quantized);
  void add_layer(int64_t index, bool last);

  at::Tensor run(Linear& linear, const at::Tensor& x);
  at::Tensor run(Norm& norm, const at::Tensor& x, const at::Tensor& mask);
  at::Tensor embed(const PaddedBatch& batch);
  at::Tensor attend(Layer& layer, const at::Tensor& x, const at::Tensor& additive,
                    const at::Tensor& mask);
  at::Tensor run(Layer& layer, const at::Tensor& x, const at::Tensor& additive,
                 const at::Tensor& mask);

  int64_t bits_, heads_ = 0;
  at::Device device_;
  double epsilon_ = 0;
  std::map<std::string, at::Tensor> tensors_;
  std::deque<WeightQuantizer> weights_;
  std::deque<ActivationQuantizer> activations_;  // in the order of execution
  WeightQuantizer *word_, *position_, *token_type_;
  Norm embedding_norm_;
  std::deque<Layer> layers_;
  Linear pooler_, classifier_;
  ActivationQuantizer *pooler_input_, *pooler_output_;
};

}  // namespace quell::published

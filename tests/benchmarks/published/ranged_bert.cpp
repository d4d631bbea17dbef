#include "tests/benchmarks/published/ranged_bert.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/io/checkpoint.h"

namespace quell::published {
namespace {

constexpr int64_t kBits = 8;
constexpr double kMasked = -10000.0;

}  // namespace

RangedBert::RangedBert(const std::filesystem::path& folder) {
  const Checkpoint checkpoint(folder);
  const nlohmann::json& config = checkpoint.config();
  heads_ = config.at("num_attention_heads").get<int64_t>();
  epsilon_ = config.at("layer_norm_eps").get<double>();
  std::vector<ExpectedTensor> expected;
  for (const std::string& name : checkpoint.names()) {
    if (!name.ends_with("position_ids")) expected.push_back({name, checkpoint.shape(name)});
  }
  tensors_ = checkpoint.load(expected, {"position_ids"}, "bert.");
  word_ = weight("bert.embeddings.word_embeddings");
  position_ = weight("bert.embeddings.position_embeddings");
  token_type_ = weight("bert.embeddings.token_type_embeddings");
  sum_token_type_ = activation("embeddings.sum_token_type");
  sum_position_ = activation("embeddings.sum_position");
  embedding_norm_ = {weight("bert.embeddings.LayerNorm"), activation("embeddings.norm")};
  const auto layers = config.at("num_hidden_layers").get<int64_t>();
  for (int64_t i = 0; i < layers; ++i) layers_.push_back(layer(i));
  pooler_ = {weight("bert.pooler.dense"), activation("pooler.output")};
  classifier_ = {weight("classifier"), activation("classifier.logits")};
}

RangedBert::Weight RangedBert::weight(const std::string& module) {
  const auto bias = tensors_.find(module + ".bias");
  return {tensors_.at(module + ".weight"),
          bias == tensors_.end() ? at::Tensor() : bias->second,
          &weights_.emplace_back(module, kBits, /*symmetric=*/true),
          {}};
}

RangeQuantizer* RangedBert::activation(const std::string& name) {
  return &activations_.emplace_back(name, kBits, /*symmetric=*/false);
}

RangedBert::Layer RangedBert::layer(int64_t index) {
  const std::string module = fmt::format("bert.encoder.layer.{}.", index);
  const std::string site = fmt::format("encoder.{}.", index);
  const std::string self = module + "attention.self.";
  Layer layer;
  layer.query = {weight(self + "query"), activation(site + "attention.query")};
  layer.key = {weight(self + "key"), activation(site + "attention.key")};
  layer.value = {weight(self + "value"), activation(site + "attention.value")};
  layer.scores = activation(site + "attention.scores");
  layer.probs = activation(site + "attention.probs");
  layer.context = activation(site + "attention.context");
  layer.attention_output = {weight(module + "attention.output.dense"),
                            activation(site + "attention.output")};
  layer.attention_residual = activation(site + "attention.residual");
  layer.attention_norm = {weight(module + "attention.output.LayerNorm"),
                          activation(site + "attention.norm")};
  layer.intermediate = {weight(module + "intermediate.dense"), activation(site + "ffn.gelu")};
  layer.output = {weight(module + "output.dense"), activation(site + "ffn.output")};
  layer.residual = activation(site + "ffn.residual");
  layer.norm = {weight(module + "output.LayerNorm"), activation(site + "ffn.norm")};
  return layer;
}

// Estimated once, and kept while activations are estimated batch by batch.
at::Tensor RangedBert::value_of(Weight& weight) {
  if (weight.quantizer->state == RangeState::kOff) return weight.value;
  if (!weight.quantized.defined()) weight.quantized = weight.quantizer->apply(weight.value);
  return weight.quantized;
}

at::Tensor RangedBert::product(Linear& linear, const at::Tensor& x) {
  return at::linear(x, value_of(linear.weight), linear.weight.bias);
}

at::Tensor RangedBert::normalized(Norm& norm, const at::Tensor& x) const {
  const at::Tensor gamma = value_of(norm.weight);
  return norm.output->apply(at::layer_norm(x, {x.size(-1)}, gamma, norm.weight.bias, epsilon_));
}

at::Tensor RangedBert::embedded(const PaddedBatch& batch) {
  const at::Tensor positions = at::arange(batch.ids.size(1)).unsqueeze(0);
  at::Tensor sum = at::embedding(value_of(word_), batch.ids);
  sum = sum_token_type_->apply(sum + at::embedding(value_of(token_type_), batch.types));
  sum = sum_position_->apply(sum + at::embedding(value_of(position_), positions));
  return normalized(embedding_norm_, sum);
}

at::Tensor RangedBert::attended(Layer& layer, const at::Tensor& x, const at::Tensor& mask) const {
  const int64_t batch = x.size(0), length = x.size(1), hidden = x.size(2);
  const int64_t size = hidden / heads_;
  const auto by_head = [&](Linear& linear) {
    return linear.output->apply(product(linear, x))
        .view({batch, length, heads_, size})
        .permute({0, 2, 1, 3});
  };
  const at::Tensor query = by_head(layer.query), key = by_head(layer.key),
                   value = by_head(layer.value);
  at::Tensor scores = layer.scores->apply(at::matmul(query, key.transpose(-1, -2)));
  scores = scores / std::sqrt(static_cast<double>(size)) + mask;
  const at::Tensor probs = layer.probs->apply(at::softmax(scores, -1));
  const at::Tensor context = layer.context->apply(at::matmul(probs, value));
  return context.permute({0, 2, 1, 3}).contiguous().view({batch, length, hidden});
}

at::Tensor RangedBert::logits(const PaddedBatch& batch) {
  const at::Tensor mask = (1.0 - batch.mask.to(at::kFloat).unsqueeze(1).unsqueeze(2)) * kMasked;
  at::Tensor x = embedded(batch);
  for (Layer& layer : layers_) {
    const at::Tensor attention = layer.attention_output.output->apply(
        product(layer.attention_output, attended(layer, x, mask)));
    const at::Tensor middle =
        normalized(layer.attention_norm, layer.attention_residual->apply(attention + x));
    const at::Tensor hidden =
        layer.intermediate.output->apply(at::gelu(product(layer.intermediate, middle)));
    const at::Tensor output = layer.output.output->apply(product(layer.output, hidden));
    x = normalized(layer.norm, layer.residual->apply(output + middle));
  }
  const at::Tensor pooled = pooler_.output->apply(at::tanh(product(pooler_, x.select(1, 0))));
  return classifier_.output->apply(product(classifier_, pooled));
}

}  // namespace quell::published

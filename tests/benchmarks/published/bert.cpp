#include "tests/benchmarks/published/bert.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/io/checkpoint.h"

namespace quell::published {
namespace {

constexpr double kMigratedEpsilon = 1e-5;
constexpr double kMasked = -10000.0;

std::map<std::string, at::Tensor> load(const Checkpoint& checkpoint) {
  std::vector<ExpectedTensor> expected;
  for (const std::string& name : checkpoint.names()) {
    if (!name.ends_with("position_ids")) expected.push_back({name, checkpoint.shape(name)});
  }
  return checkpoint.load(expected, {"position_ids"}, "bert.");
}

// branch + gamma * x, or without a gamma.
at::Tensor add_shortcut(const at::Tensor& branch, const at::Tensor& x, const at::Tensor& gamma) {
  return gamma.defined() ? branch + x * gamma : branch + x;
}

}  // namespace

PaddedBatch pad(const Batch& batch, int64_t length, int64_t pad_id) {
  PaddedBatch padded;
  padded.ids = at::full({batch.sequences(), length}, pad_id, at::kLong);
  padded.types = at::zeros_like(padded.ids);
  padded.mask = at::zeros_like(padded.ids);
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    const int64_t valid = batch.valid_lengths[i];
    padded.ids[i].narrow(0, 0, valid).copy_(batch.token_ids.narrow(0, batch.offsets[i], valid));
    padded.types[i].narrow(0, 0, valid).copy_(batch.segment_ids.narrow(0, batch.offsets[i], valid));
    padded.mask[i].narrow(0, 0, valid).fill_(1);
  }
  return padded;
}

Bert::Bert(const std::filesystem::path& folder, int64_t bits, at::Device device)
    : bits_(bits), device_(device) {
  const Checkpoint checkpoint(folder);
  const nlohmann::json& config = checkpoint.config();
  heads_ = config.at("num_attention_heads").get<int64_t>();
  epsilon_ = config.at("layer_norm_eps").get<double>();
  tensors_ = load(checkpoint);
  for (auto& [name, tensor] : tensors_) tensor = tensor.to(device);
  const std::string embeddings = "bert.embeddings.";
  word_ = weight_quantizer(embeddings + "word_embeddings");
  position_ = weight_quantizer(embeddings + "position_embeddings");
  token_type_ = weight_quantizer(embeddings + "token_type_embeddings");
  embedding_norm_ = norm(embeddings + "LayerNorm", true);
  const auto layers = config.at("num_hidden_layers").get<int64_t>();
  for (int64_t i = 0; i < layers; ++i) add_layer(i, i + 1 == layers);
  pooler_input_ = activation("bert.pooler.getitem", RangeRule::kMinMax);
  pooler_ = linear("bert.pooler.dense");
  pooler_output_ = activation("dropout", RangeRule::kMinMax);
  classifier_ = linear("classifier");
}

WeightQuantizer* Bert::weight_quantizer(const std::string& module) {
  return &weights_.emplace_back(module + ".weight_fake_quant", bits_);
}

ActivationQuantizer* Bert::activation(const std::string& name, RangeRule rule) {
  return &activations_.emplace_back(name + "_post_act_fake_quantize", bits_, rule, device_);
}

Bert::Linear Bert::linear(const std::string& module) {
  return {tensor(module + ".weight"), tensor(module + ".bias"), weight_quantizer(module)};
}

Bert::Norm Bert::norm(const std::string& module, bool quantized) {
  return {tensor(module + ".weight"), tensor(module + ".bias"), epsilon_,
          quantized ? activation(module + ".layernorm") : nullptr};
}

void Bert::add_layer(int64_t index, bool last) {
  const std::string prefix = fmt::format("bert.encoder.layer.{}.", index);
  const std::string self = prefix + "attention.self.";
  Layer& layer = layers_.emplace_back();
  layer.query = linear(self + "query");
  layer.key = linear(self + "key");
  layer.value = linear(self + "value");
  layer.query_out = activation(self + "query_permute");
  layer.key_out = activation(self + "key_transpose");
  layer.value_out = activation(self + "value_permute");
  layer.probs = activation(self + "attention_probs", RangeRule::kMinMax);
  layer.context = activation(self + "context_view");
  layer.attention_output = linear(prefix + "attention.output.dense");
  layer.attention_norm = norm(prefix + "attention.output.LayerNorm", true);
  layer.intermediate = linear(prefix + "intermediate.dense");
  layer.gelu = activation(prefix + "intermediate.intermediate_act_fn");
  layer.output = linear(prefix + "output.dense");
  layer.output_norm = norm(prefix + "output.LayerNorm", !last);
}

void Bert::migrate_gamma() {
  const auto migrate = [](Norm& norm, std::initializer_list<Linear*> consumers,
                          at::Tensor& shortcut) {
    for (Linear* consumer : consumers) consumer->weight.mul_(norm.gamma);
    norm.beta.div_(norm.gamma);
    shortcut = norm.gamma;
    norm.gamma = at::Tensor();
    norm.epsilon = kMigratedEpsilon;
  };
  Norm* previous = &embedding_norm_;
  for (Layer& layer : layers_) {
    migrate(*previous, {&layer.query, &layer.key, &layer.value}, layer.attention_shortcut);
    migrate(layer.attention_norm, {&layer.intermediate}, layer.output_shortcut);
    previous = &layer.output_norm;
  }
}

void Bert::observe_weights(bool on) {
  for (WeightQuantizer& quantizer : weights_) quantizer.observe = on;
}
void Bert::quantize_weights(bool on) {
  for (WeightQuantizer& quantizer : weights_) quantizer.quantize = on;
}
void Bert::observe_activations(bool on) {
  for (ActivationQuantizer& quantizer : activations_) quantizer.observe = on;
}
void Bert::quantize_activations(bool on) {
  for (ActivationQuantizer& quantizer : activations_) quantizer.quantize = on;
}

std::vector<at::Tensor> Bert::parameters() const {
  std::vector<at::Tensor> result;
  for (const auto& [name, value] : tensors_) result.push_back(value);
  return result;
}

at::Tensor Bert::run(Linear& linear, const at::Tensor& x) {
  return at::linear(x, linear.quantizer->apply(linear.weight), linear.bias);
}

at::Tensor Bert::run(Norm& norm, const at::Tensor& x, const at::Tensor& mask) {
  const std::vector<int64_t> shape = {x.size(-1)};
  at::Tensor result;
  if (norm.gamma.defined()) {
    result = at::layer_norm(x, shape, norm.gamma, norm.beta, norm.epsilon);
  } else {
    result = at::layer_norm(x, shape, {}, {}, norm.epsilon);
    result += norm.beta;
  }
  return norm.quantizer == nullptr ? result : norm.quantizer->apply(result, mask, 1);
}

at::Tensor Bert::embed(const PaddedBatch& batch) {
  const at::Tensor positions = at::arange(batch.ids.size(1), batch.ids.options()).unsqueeze(0);
  const auto look_up = [&](WeightQuantizer* quantizer, const char* name, const at::Tensor& ids) {
    const std::string full = std::string("bert.embeddings.") + name + ".weight";
    return at::embedding(quantizer->apply(tensor(full)), ids);
  };
  at::Tensor sum = look_up(word_, "word_embeddings", batch.ids) +
                   look_up(token_type_, "token_type_embeddings", batch.types);
  sum += look_up(position_, "position_embeddings", positions);
  return run(embedding_norm_, sum, batch.mask);
}

at::Tensor Bert::attend(Layer& layer, const at::Tensor& x, const at::Tensor& additive,
                        const at::Tensor& mask) {
  const int64_t batch = x.size(0), length = x.size(1), hidden = x.size(2);
  const int64_t size = hidden / heads_;
  const auto by_head = [&](const at::Tensor& rows) {
    return rows.view({batch, length, heads_, size}).permute({0, 2, 1, 3});
  };
  const at::Tensor query_rows = run(layer.query, x);
  const at::Tensor key =
      layer.key_out->apply(by_head(run(layer.key, x)).transpose(-1, -2), mask, 3);
  const at::Tensor value = layer.value_out->apply(by_head(run(layer.value, x)), mask, 2);
  const at::Tensor query = layer.query_out->apply(by_head(query_rows), mask, 2);
  at::Tensor scores = at::matmul(query, key) / std::sqrt(static_cast<double>(size));
  scores = scores + additive;
  const at::Tensor probs = layer.probs->apply(at::softmax(scores, -1), mask, 2);
  const at::Tensor context = at::matmul(probs, value).permute({0, 2, 1, 3}).contiguous();
  return layer.context->apply(context.view({batch, length, hidden}), mask, 1);
}

at::Tensor Bert::run(Layer& layer, const at::Tensor& x, const at::Tensor& additive,
                     const at::Tensor& mask) {
  const at::Tensor attended = run(layer.attention_output, attend(layer, x, additive, mask));
  const at::Tensor normalized =
      run(layer.attention_norm, add_shortcut(attended, x, layer.attention_shortcut), mask);
  const at::Tensor hidden =
      layer.gelu->apply(at::gelu(run(layer.intermediate, normalized)), mask, 1);
  return run(layer.output_norm,
             add_shortcut(run(layer.output, hidden), normalized, layer.output_shortcut), mask);
}

at::Tensor Bert::logits(const PaddedBatch& batch) {
  const at::Tensor additive = (1.0 - batch.mask.to(at::kFloat).unsqueeze(1).unsqueeze(2)) * kMasked;
  at::Tensor x = embed(batch);
  for (Layer& layer : layers_) x = run(layer, x, additive, batch.mask);
  const at::Tensor first = pooler_input_->apply(x.select(1, 0), {}, -1);
  const at::Tensor pooled = pooler_output_->apply(at::tanh(run(pooler_, first)), {}, -1);
  return run(classifier_, pooled);
}

}  // namespace quell::published

#include "tests/support/random_model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/file.h"
#include "framework/io/safetensors.h"

namespace quell {
namespace {

constexpr int64_t kClasses = 2, kFfnFactor = 4;

class RandomWeights {
 public:
  RandomWeights(const ModelShape& shape, bool outliers) : shape_(shape), outliers_(outliers) {
    at::manual_seed(1);
  }

  void table(const std::string& name, int64_t rows, int64_t columns) {
    tensors.emplace_back(name, at::randn({rows, columns}).mul_(0.02));
  }
  void linear(const std::string& module, int64_t outputs, int64_t inputs) {
    table(module + ".weight", outputs, inputs);
    tensors.emplace_back(module + ".bias", at::randn({outputs}).mul_(0.02));
  }
  void gamma(const std::string& module) {
    at::Tensor gamma = at::ones({shape_.hidden});
    if (outliers_) {
      gamma = at::randn({shape_.hidden}).mul_(0.3).exp_();
      for (const int64_t channel : {3, 17, 42})
        gamma[channel] = 8.0F + static_cast<float>(channel) / 4;
    }
    tensors.emplace_back(module + ".weight", gamma);
  }
  void norm(const std::string& module) {
    gamma(module);
    tensors.emplace_back(module + ".bias", at::randn({shape_.hidden}).mul_(0.2));
  }

  std::vector<std::pair<std::string, at::Tensor>> tensors;

 private:
  const ModelShape& shape_;
  bool outliers_;
};

void add_encoder(const ModelShape& shape, RandomWeights& weights) {
  const int64_t hidden = shape.hidden, ffn = kFfnFactor * hidden;
  const bool roberta = shape.type == "roberta";
  const std::string prefix = shape.type + ".embeddings.";
  weights.table(prefix + "word_embeddings.weight", shape.vocabulary, hidden);
  // Positions of RoBERTa start behind the padding id 1.
  weights.table(prefix + "position_embeddings.weight", shape.positions + (roberta ? 2 : 0), hidden);
  weights.table(prefix + "token_type_embeddings.weight", roberta ? 1 : 2, hidden);
  weights.norm(prefix + "LayerNorm");
  for (int64_t i = 0; i < shape.layers; ++i) {
    const std::string layer = fmt::format("{}.encoder.layer.{}.", shape.type, i);
    for (const char* part : {"query", "key", "value"}) {
      weights.linear(layer + "attention.self." + part, hidden, hidden);
    }
    weights.linear(layer + "attention.output.dense", hidden, hidden);
    weights.norm(layer + "attention.output.LayerNorm");
    weights.linear(layer + "intermediate.dense", ffn, hidden);
    weights.linear(layer + "output.dense", hidden, ffn);
    weights.norm(layer + "output.LayerNorm");
  }
  weights.linear(roberta ? "classifier.dense" : "bert.pooler.dense", hidden, hidden);
  weights.linear(roberta ? "classifier.out_proj" : "classifier", kClasses, hidden);
}

void add_stack(const ModelShape& shape, const std::string& stack, RandomWeights& weights) {
  const int64_t hidden = shape.hidden, ffn = kFfnFactor * hidden;
  weights.table(stack + "embed_positions.weight", shape.positions + 2, hidden);
  weights.norm(stack + "layernorm_embedding");
  for (int64_t i = 0; i < shape.layers; ++i) {
    const std::string layer = fmt::format("{}layers.{}.", stack, i);
    const auto attention = [&](const std::string& module) {
      for (const char* part : {".k_proj", ".v_proj", ".q_proj", ".out_proj"}) {
        weights.linear(layer + module + part, hidden, hidden);
      }
      weights.norm(layer + module + "_layer_norm");
    };
    attention("self_attn");
    if (stack == "model.decoder.") attention("encoder_attn");
    weights.linear(layer + "fc1", ffn, hidden);
    weights.linear(layer + "fc2", hidden, ffn);
    weights.norm(layer + "final_layer_norm");
  }
}

void add_llama(const ModelShape& shape, RandomWeights& weights) {
  const int64_t hidden = shape.hidden, ffn = kFfnFactor * hidden;
  weights.table("model.embed_tokens.weight", shape.vocabulary, hidden);
  for (int64_t i = 0; i < shape.layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    weights.gamma(layer + "input_layernorm");
    for (const char* part : {"q", "k", "v", "o"}) {
      weights.table(fmt::format("{}self_attn.{}_proj.weight", layer, part), hidden, hidden);
    }
    weights.gamma(layer + "post_attention_layernorm");
    weights.table(layer + "mlp.gate_proj.weight", ffn, hidden);
    weights.table(layer + "mlp.up_proj.weight", ffn, hidden);
    weights.table(layer + "mlp.down_proj.weight", hidden, ffn);
  }
  weights.gamma("model.norm");
  weights.table("lm_head.weight", shape.vocabulary, hidden);
}

nlohmann::json llama_config(const ModelShape& shape) {
  return {{"model_type", "llama"},
          {"vocab_size", shape.vocabulary},
          {"hidden_size", shape.hidden},
          {"num_hidden_layers", shape.layers},
          {"num_attention_heads", shape.heads},
          {"intermediate_size", kFfnFactor * shape.hidden},
          {"max_position_embeddings", shape.positions},
          {"tie_word_embeddings", false}};
}

nlohmann::json encoder_config(const ModelShape& shape) {
  const bool roberta = shape.type == "roberta";
  return {{"model_type", shape.type},
          {"vocab_size", shape.vocabulary},
          {"hidden_size", shape.hidden},
          {"num_hidden_layers", shape.layers},
          {"num_attention_heads", shape.heads},
          {"intermediate_size", kFfnFactor * shape.hidden},
          {"max_position_embeddings", shape.positions + (roberta ? 2 : 0)},
          {"type_vocab_size", roberta ? 1 : 2},
          {"hidden_act", "gelu"},
          {"layer_norm_eps", roberta ? 1e-5 : 1e-12},
          {"pad_token_id", roberta ? 1 : 0}};
}

nlohmann::json bart_config(const ModelShape& shape) {
  const int64_t ffn = kFfnFactor * shape.hidden;
  return {{"model_type", "bart"},
          {"architectures", {"BartForConditionalGeneration"}},
          {"vocab_size", shape.vocabulary},
          {"d_model", shape.hidden},
          {"encoder_layers", shape.layers},
          {"decoder_layers", shape.layers},
          {"encoder_attention_heads", shape.heads},
          {"decoder_attention_heads", shape.heads},
          {"encoder_ffn_dim", ffn},
          {"decoder_ffn_dim", ffn},
          {"max_position_embeddings", shape.positions},
          {"eos_token_id", 2},
          {"decoder_start_token_id", 2}};
}

}  // namespace

void write_random_model(const std::filesystem::path& folder, const ModelShape& shape,
                        bool outliers) {
  RandomWeights weights(shape, outliers);
  if (shape.type == "llama") {
    add_llama(shape, weights);
  } else if (shape.type == "bart") {
    weights.table("model.shared.weight", shape.vocabulary, shape.hidden);
    add_stack(shape, "model.encoder.", weights);
    add_stack(shape, "model.decoder.", weights);
  } else {
    add_encoder(shape, weights);
  }
  const auto config = shape.type == "llama"  ? llama_config(shape)
                      : shape.type == "bart" ? bart_config(shape)
                                             : encoder_config(shape);
  write_file(folder / "config.json", config.dump());
  write_safetensors(folder / "model.safetensors", weights.tensors);
}

}  // namespace quell

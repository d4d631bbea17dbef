#include "models/blocks/post_norm_layers.h"

#include <ATen/ops/embedding.h>
#include <fmt/format.h>
#include <cmath>

#include "framework/io/checkpoint.h"

namespace quell {
namespace {

constexpr double kNormEpsilon = 1e-5;  // BART's config.json has no key for it

const StackSizes& sizes_of(const PostNormStack& stack, const HfEncoderDecoderConfig& config) {
  return stack.name == "decoder" ? config.decoder : config.encoder;
}

std::string layer_prefix(const PostNormStack& stack, int64_t layer) {
  return fmt::format("{}layers.{}.", stack.prefix, layer);
}

void expect_attention(const std::string& module, int64_t hidden,
                      std::vector<ExpectedTensor>& expected) {
  for (const char* part : {".k_proj", ".v_proj", ".q_proj", ".out_proj"}) {
    expect_linear(module + part, hidden, hidden, expected);
  }
  expect_norm(module + "_layer_norm", hidden, expected);
  expected.push_back({module + ".shortcut.scale", {hidden}, /*optional=*/true});
}

// `name` is "attention" or "cross_attention", `module` "model.encoder.layers.0.self_attn".
AttentionBlock declare_attention(const std::string& name, const std::string& module, int64_t layer,
                                 int64_t heads, Declarations& declarations) {
  const auto linear = [&](const std::string& part, const std::string& projection) {
    return declarations.linear(fmt::format("{}.{}", name, part), part, layer,
                               fmt::format("{}.{}", module, projection));
  };
  const auto published_names = [&](const std::string& published) -> PublishedNames {
    return {fmt::format("{}.{}_post_act_fake_quantize", module, published), ""};
  };
  const auto activation = [&](const std::string& part, const std::string& published) {
    return declarations.activation(fmt::format("{}.{}", name, part), part, layer,
                                   published_names(published));
  };
  AttentionBlock block;
  block.heads = heads;
  block.query = linear("query", "q_proj");
  block.query_site = activation("query", "query");
  block.key = linear("key", "k_proj");
  block.key_site = activation("key", "key");
  block.value = linear("value", "v_proj");
  block.value_site = activation("value", "value");
  block.sites.probs = declarations.attention_matrix(name + ".probs", "probs", layer, heads,
                                                    published_names("attention_probs"));
  block.sites.context = activation("context", "context");
  block.output =
      declarations.linear(name + ".output", "attention_output", layer, module + ".out_proj");
  block.output_site = declarations.activation(name + ".output", "attention_output", layer,
                                              {module + "_post_act_fake_quantize", ""});
  block.norm = declarations.norm(name + ".norm", layer, module + "_layer_norm", kNormEpsilon);
  block.shortcut_name = module + ".shortcut.scale";
  // Only what was trained after gamma migration has one.
  block.shortcut.scale = declarations.tensor(block.shortcut_name);
  return block;
}

FeedForwardBlock declare_ffn(const std::string& prefix, int64_t layer,
                             const HfEncoderDecoderConfig& config, Declarations& declarations) {
  FeedForwardBlock block;
  block.nonlinearity = config.nonlinearity;
  block.intermediate =
      declarations.linear("ffn.intermediate", "intermediate", layer, prefix + "fc1");
  block.hidden_site = declarations.activation("ffn.gelu", "gelu", layer,
                                              {prefix + "fc1_act_fn_post_act_fake_quantize", ""});
  block.output = declarations.linear("ffn.output", "ffn_output", layer, prefix + "fc2");
  block.output_site = declarations.activation("ffn.output", "ffn_output", layer,
                                              {prefix + "fc2_post_act_fake_quantize", ""});
  block.norm = declarations.norm("ffn.norm", layer, prefix + "final_layer_norm", kNormEpsilon);
  block.shortcut_name = prefix + "ffn.shortcut.scale";
  // Only what was trained after gamma migration has one.
  block.shortcut.scale = declarations.tensor(block.shortcut_name);
  return block;
}

}  // namespace

at::Tensor AttentionBlock::queries(const at::Tensor& rows, QuantContext& context) const {
  const double size = static_cast<double>(query.weight.size(0) / heads);
  return context.activation(query_site, query.forward(context, rows).mul_(1 / std::sqrt(size)));
}

at::Tensor AttentionBlock::keys(const at::Tensor& memory, QuantContext& context) const {
  return context.activation(key_site, key.forward(context, memory));
}

at::Tensor AttentionBlock::values(const at::Tensor& memory, QuantContext& context) const {
  return context.activation(value_site, value.forward(context, memory));
}

at::Tensor AttentionBlock::forward(const at::Tensor& rows, const AttentionSpans& spans,
                                   const at::Tensor& memory, QuantContext& context) const {
  return attend(rows, spans, keys(memory, context), values(memory, context), context);
}

at::Tensor AttentionBlock::attend(const at::Tensor& rows, const AttentionSpans& spans,
                                  const at::Tensor& key_rows, const at::Tensor& value_rows,
                                  QuantContext& context) const {
  const at::Tensor attended = quell::attention(spans, context, sites, heads, /*divisor=*/1,
                                               queries(rows, context), key_rows, value_rows);
  at::Tensor sum = context.activation(output_site, output.forward(context, attended));
  sum = context.dropout(DropoutPlace::kHidden, std::move(sum));
  return norm.forward(context, shortcut.add(std::move(sum), rows));
}

at::Tensor FeedForwardBlock::forward(const at::Tensor& rows, QuantContext& context) const {
  at::Tensor hidden = apply(nonlinearity, intermediate.forward(context, rows));
  hidden = context.activation(hidden_site, std::move(hidden));
  hidden = context.dropout(DropoutPlace::kActivation, std::move(hidden));
  at::Tensor sum = context.activation(output_site, output.forward(context, hidden));
  sum = context.dropout(DropoutPlace::kHidden, std::move(sum));
  return norm.forward(context, shortcut.add(std::move(sum), rows));
}

at::Tensor PostNormLayer::forward(const at::Tensor& rows, const AttentionSpans& spans,
                                  QuantContext& context) const {
  return ffn.forward(attention.forward(rows, spans, rows, context), context);
}

at::Tensor PostNormLayer::forward(const at::Tensor& rows, const AttentionSpans& spans,
                                  const at::Tensor& encoder_rows, const AttentionSpans& cross_spans,
                                  QuantContext& context) const {
  const at::Tensor own = attention.forward(rows, spans, rows, context);
  return ffn.forward(cross_attention->forward(own, cross_spans, encoder_rows, context), context);
}

void expect_stack(const PostNormStack& stack, const HfEncoderDecoderConfig& config,
                  std::vector<ExpectedTensor>& expected) {
  const int64_t hidden = config.hidden;
  const StackSizes& sizes = sizes_of(stack, config);
  ExpectedTensor words{stack.prefix + "embed_tokens.weight", {config.vocabulary_size, hidden}};
  words.tied_to = "model.shared.weight";
  expected.push_back(std::move(words));
  expected.push_back(
      {stack.prefix + "embed_positions.weight", {config.max_positions + kPositionOffset, hidden}});
  expect_norm(stack.prefix + "layernorm_embedding", hidden, expected);
  for (int64_t i = 0; i < sizes.layers; ++i) {
    const std::string prefix = layer_prefix(stack, i);
    expect_attention(prefix + "self_attn", hidden, expected);
    if (stack.name == "decoder") expect_attention(prefix + "encoder_attn", hidden, expected);
    expect_linear(prefix + "fc1", sizes.ffn, hidden, expected);
    expect_linear(prefix + "fc2", hidden, sizes.ffn, expected);
    expect_norm(prefix + "final_layer_norm", hidden, expected);
    expected.push_back({prefix + "ffn.shortcut.scale", {hidden}, /*optional=*/true});
  }
}

void declare_stack(PostNormStack& stack, const HfEncoderDecoderConfig& config,
                   Declarations& declarations) {
  const StackSizes& sizes = sizes_of(stack, config);
  const std::string words = stack.prefix + "embed_tokens";
  const std::string positions = stack.prefix + "embed_positions";
  const std::string name = stack.name + ".embeddings.";
  stack.word_site = declarations.weight(name + "word", "embedding", -1, words + ".weight");
  stack.position_site =
      declarations.weight(name + "position", "embedding", -1, positions + ".weight",
                          {positions + ".position_embeddings.weight_fake_quant", ""});
  stack.words = declarations.tensor(words + ".weight");
  stack.positions = declarations.tensor(positions + ".weight");
  if (config.scales_embeddings) stack.word_scale = std::sqrt(static_cast<double>(config.hidden));
  stack.embedding_norm =
      declarations.norm(name + "norm", -1, stack.prefix + "layernorm_embedding", kNormEpsilon);
  for (int64_t i = 0; i < sizes.layers; ++i) {
    const std::string prefix = layer_prefix(stack, i);
    PostNormLayer& layer = stack.layers.emplace_back();
    layer.attention =
        declare_attention("attention", prefix + "self_attn", i, sizes.heads, declarations);
    stack.first_sites.push_back(layer.attention.query.weight_site);
    if (stack.name == "decoder") {
      layer.cross_attention = std::make_unique<AttentionBlock>(declare_attention(
          "cross_attention", prefix + "encoder_attn", i, sizes.heads, declarations));
    }
    layer.ffn = declare_ffn(prefix, i, config, declarations);
  }
}

at::Tensor embed(const PostNormStack& stack, const at::Tensor& ids, const at::Tensor& positions,
                 QuantContext& context) {
  at::Tensor rows = at::embedding(context.weight(stack.word_site, stack.words), ids);
  if (stack.word_scale != 1) rows = rows.mul(stack.word_scale);
  const at::Tensor table = context.weight(stack.position_site, stack.positions);
  rows = rows.add(at::embedding(table, positions.add(kPositionOffset)));
  return context.dropout(DropoutPlace::kHidden, stack.embedding_norm.forward(context, rows));
}

}  // namespace quell

#include "framework/import/qualcomm_nodes.h"

#include <charconv>

namespace quell::published {
namespace {

constexpr std::string_view kLayer = "{layer}";

constexpr QuantNode kNodes[] = {
    {"e", "activation:embeddings.sum_*", "the sums of embeddings", false, true},
    {"Et", "weight:embeddings.word", "the table of word embeddings"},
    {"s", "activation:encoder.{layer}.attention.scores", "attention scores", true},
    {"p", "activation:encoder.{layer}.attention.probs", "attention probabilities", true},
    {"c", "activation:encoder.{layer}.attention.context", "the context of attention", true, true},
    {"g", "activation:encoder.{layer}.attention.output", "the output of attention", true, true},
    {"u", "activation:encoder.{layer}.attention.residual", "the residual sum behind attention",
     true, true},
    {"x", "activation:encoder.{layer}.attention.norm", "the input of the feed-forward block", true,
     true},
    {"h", "activation:encoder.{layer}.ffn.output", "the output of the feed-forward block", true,
     true},
    {"y", "activation:encoder.{layer}.ffn.residual", "the residual sum behind it", true, true},
    {"z", "activation:encoder.{layer}.ffn.norm", "the output of the layer", true, true},
    {"L", "activation:encoder.{layer}.*", "all nodes of a layer", true},
    {"P", "activation:pooler.output", "the pooler's output"},
    {"C", "activation:classifier.logits", "the logits"},
    {"wP", "weight:pooler.dense", "the pooler"},
    {"wC", "weight:classifier", "the classifier's weight"}};

}  // namespace

std::span<const QuantNode> quant_nodes() { return kNodes; }

std::vector<std::string_view> node_letters() {
  std::vector<std::string_view> letters;
  for (const QuantNode& node : kNodes) letters.push_back(node.letter);
  return letters;
}

std::string NodeKey::group() const {
  return "group:" + std::string(node->letter) + (layer ? std::to_string(*layer) : "");
}

std::string NodeKey::pattern() const {
  std::string pattern(node->pattern);
  const size_t place = pattern.find(kLayer);
  if (place != std::string::npos) {
    pattern.replace(place, kLayer.size(), layer ? std::to_string(*layer) : "*");
  }
  return pattern;
}

std::optional<NodeKey> find_node(std::string_view key) {
  for (const QuantNode& node : kNodes) {
    if (!key.starts_with(node.letter)) continue;
    const std::string_view rest = key.substr(node.letter.size());
    if (rest.empty()) return NodeKey{&node, {}};
    int layer = 0;
    const char* end = rest.data() + rest.size();
    const auto [stop, error] = std::from_chars(rest.data(), end, layer);
    if (node.in_layers && error == std::errc() && stop == end && layer >= 0) {
      return NodeKey{&node, layer};
    }
  }
  return {};
}

}  // namespace quell::published

#include "framework/import/qualcomm_nodes.h"

#include <fmt/ranges.h>
#include <cctype>

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

// Sites of weights by the last part of the published module.
struct WeightName {
  std::string_view module, site;
};

constexpr WeightName kEmbeddings[] = {{"word_embeddings", "word"},
                                      {"position_embeddings", "position"},
                                      {"token_type_embeddings", "token_type"},
                                      {"LayerNorm", "norm"}};
constexpr WeightName kLayers[] = {{"attention.self.query", "attention.query"},
                                  {"attention.self.key", "attention.key"},
                                  {"attention.self.value", "attention.value"},
                                  {"attention.output.dense", "attention.output"},
                                  {"attention.output.LayerNorm", "attention.norm"},
                                  {"intermediate.0", "ffn.intermediate"},
                                  {"output.dense", "ffn.output"},
                                  {"output.LayerNorm", "ffn.norm"}};
constexpr WeightName kHeads[] = {{"bert.pooler.dense_act.0", "pooler.dense"},
                                 {"classifier", "classifier"},
                                 {"classifier.dense", "pooler.dense"},
                                 {"classifier.out_proj", "classifier"}};

std::string site_of(std::string_view module, std::span<const WeightName> names) {
  for (const WeightName& name : names) {
    if (name.module == module) return std::string(name.site);
  }
  return "";
}

// A dictionary of Python with strings as keys and strings, integers or None as values.
class Dictionary {
 public:
  explicit Dictionary(std::string_view text) : text_(text) {}

  // Empty where it is none.
  std::optional<std::map<std::string, std::string>> read() {
    std::map<std::string, std::string> values;
    if (!take('{')) return {};
    while (!take('}')) {
      const auto key = string();
      if (!key || !take(':')) return {};
      const auto value = string_or_word();
      if (!value) return {};
      values[*key] = *value;
      if (!take(',') && next() != '}') return {};
    }
    return next() == '\0' ? std::optional(values) : std::nullopt;
  }

 private:
  char next() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char expected) {
    if (next() != expected) return false;
    ++at_;
    return true;
  }
  std::optional<std::string> string() {
    const char quote = next();
    if (quote != '\'' && quote != '"') return {};
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return {};
    std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  std::optional<std::string> string_or_word() {
    if (auto quoted = string()) return quoted;
    std::string word;
    while (std::isalnum(static_cast<unsigned char>(next())) != 0) word += text_[at_++];
    return word.empty() ? std::nullopt : std::optional(word);
  }

  std::string_view text_;
  size_t at_ = 0;
};

std::optional<NodeSetting> setting_of(const std::string& value) {
  using Kind = NodeSetting::Kind;
  if (value == "fp32") return NodeSetting{Kind::kFloat};
  if (value == "per_embd") return NodeSetting{Kind::kPerEmbedding};
  const bool permuted = value.starts_with("ngp"), groups = value.starts_with("ng");
  const auto number = number_of<int64_t>(std::string_view(value).substr(permuted ? 3
                                                                        : groups ? 2
                                                                                 : 0));
  if (!number || *number < 1) return {};
  if (!groups && (*number < 2 || *number > 16)) return {};
  return NodeSetting{permuted ? Kind::kPermutedGroups
                     : groups ? Kind::kGroups
                              : Kind::kBits,
                     *number};
}

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
    const auto layer = number_of<int>(rest);
    if (node.in_layers && layer && *layer >= 0) return NodeKey{&node, *layer};
  }
  return {};
}

std::map<std::string, NodeSetting> read_node_settings(const std::string& text,
                                                      CommandWords& words) {
  std::map<std::string, NodeSetting> settings;
  const auto dictionary = Dictionary(text).read();
  if (!dictionary) {
    words.problem(fmt::format(
        "--quant-dict: expected a dictionary such as {{'y': 16, 'h': 'ng6'}}, found {}", text));
    return settings;
  }
  for (const auto& [key, value] : *dictionary) {
    const auto node = find_node(key);
    if (!node) {
      words.problem(fmt::format(
          "--quant-dict: unknown node \"{}\"; known: {}; those of layers also with a number: y11",
          key, fmt::join(node_letters(), ", ")));
      continue;
    }
    if (value == "None") continue;
    const auto setting = setting_of(value);
    const bool bits = setting && (setting->kind == NodeSetting::Kind::kBits ||
                                  setting->kind == NodeSetting::Kind::kFloat);
    if (!setting) {
      words.problem(fmt::format(
          "--quant-dict: {}: expected bits from 2 to 16, 'fp32', 'per_embd', 'ngK' or 'ngpK', "
          "found {}",
          key, value));
    } else if (!bits && !node->node->has_features) {
      words.problem(
          fmt::format("--quant-dict: {}: {} is for activations with features; found for {}", key,
                      value, node->node->what));
    } else {
      settings[key] = *setting;
    }
  }
  return settings;
}

std::string weight_site_of(std::string_view module) {
  constexpr std::string_view kEmbeddingsOf = "embeddings.", kLayerOf = "encoder.layer.";
  std::string_view rest = module;
  if (const std::string head = site_of(rest, kHeads); !head.empty()) return head;
  for (const std::string_view backbone : {"bert.", "roberta."}) {
    if (!rest.starts_with(backbone)) continue;
    rest.remove_prefix(backbone.size());
    if (rest.starts_with(kEmbeddingsOf)) {
      const std::string site = site_of(rest.substr(kEmbeddingsOf.size()), kEmbeddings);
      return site.empty() ? "" : "embeddings." + site;
    }
    if (!rest.starts_with(kLayerOf)) return "";
    rest.remove_prefix(kLayerOf.size());
    const size_t dot = std::min(rest.find('.'), rest.size() - 1);
    const auto layer = number_of<int>(rest.substr(0, dot));
    const std::string site = site_of(rest.substr(dot + 1), kLayers);
    return !layer || site.empty() ? "" : fmt::format("encoder.{}.{}", *layer, site);
  }
  return "";
}

}  // namespace quell::published

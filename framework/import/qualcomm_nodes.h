// What the published code calls sites: the letters of its option --quant-dict, whose sites are the
// groups of experiments/placements/qualcomm.yaml, and its modules.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "framework/import/command_words.h"

namespace quell::published {

struct QuantNode {
  std::string_view letter;   // "y", the group of the placement, too
  std::string_view pattern;  // of its sites, as the placement has it
  std::string_view what;
  bool in_layers = false;     // may have the number of a layer: "y11"
  bool has_features = false;  // an activation [tokens, features], which can have groups of them
};

// In the order in which the published code applies them: what comes later wins.
std::span<const QuantNode> quant_nodes();
std::vector<std::string_view> node_letters();

// What a key of the dictionary names.
struct NodeKey {
  const QuantNode* node = nullptr;
  std::optional<int> layer;  // absent: all of them

  // How rules name it: "group:y11".
  std::string group() const;
  // The pattern of its sites.
  std::string pattern() const;
};

// Absent for an unknown key.
std::optional<NodeKey> find_node(std::string_view key);

// What --quant-dict says about a node.
struct NodeSetting {
  enum class Kind { kBits, kFloat, kPerEmbedding, kGroups, kPermutedGroups };
  Kind kind = Kind::kBits;
  int64_t number = 0;  // of bits or groups

  bool operator==(const NodeSetting&) const = default;
};

// The settings of a dictionary of Python, by node; what is wrong becomes problems of `words`.
std::map<std::string, NodeSetting> read_node_settings(const std::string& text, CommandWords& words);

// The site of the weight of a module such as "bert.encoder.layer.0.intermediate.0", without its
// kind. Empty for another.
std::string weight_site_of(std::string_view module);

}  // namespace quell::published

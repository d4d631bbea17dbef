// The letters of the published option --quant-dict. Their sites are the groups of
// experiments/placements/qualcomm.yaml.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

}  // namespace quell::published

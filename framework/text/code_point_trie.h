// Strings of code points with a number each, for longest-match look-ups that allocate nothing.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace quell {

class CodePointTrie {
 public:
  struct Match {
    int32_t value = -1;  // -1: nothing matches
    int32_t length = 0;  // in code points
  };

  // Returns false when `key` is there already. `value` is not negative.
  bool insert(std::u32string_view key, int32_t value) {
    int32_t node = 0;
    for (char32_t c : key) {
      const auto [edge, is_new] = edges_.try_emplace(edge_key(node, c), next_node());
      if (is_new) values_.push_back(-1);
      node = edge->second;
    }
    if (values_[static_cast<size_t>(node)] >= 0) return false;
    values_[static_cast<size_t>(node)] = value;
    return true;
  }

  // The longest non-empty key that `text` starts with.
  Match longest_prefix(std::u32string_view text) const {
    Match best;
    int32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto edge = edges_.find(edge_key(node, text[i]));
      if (edge == edges_.end()) break;
      node = edge->second;
      const int32_t value = values_[static_cast<size_t>(node)];
      if (value >= 0) best = {value, static_cast<int32_t>(i) + 1};
    }
    return best;
  }

  bool empty() const { return values_.size() == 1; }

 private:
  static uint64_t edge_key(int32_t node, char32_t c) {
    return (static_cast<uint64_t>(node) << 32) | c;
  }
  int32_t next_node() const { return static_cast<int32_t>(values_.size()); }

  std::unordered_map<uint64_t, int32_t> edges_;  // (node, code point) -> node
  std::vector<int32_t> values_ = {-1};           // of each node; node 0 is the root
};

}  // namespace quell

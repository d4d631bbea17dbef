#include "framework/text/code_point_trie.h"

#include <algorithm>

namespace quell {

CodePointTrie::CodePointTrie(std::vector<Entry> entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.first < b.first; });
  struct Range {  // the entries below a node
    size_t begin, end;
  };
  std::vector<Range> level = {{0, entries.size()}};
  nodes_.push_back({0, 0, -1});
  size_t node = 0;
  for (size_t depth = 0; !level.empty(); ++depth) {
    std::vector<Range> next_level;
    for (auto [begin, end] : level) {
      nodes_[node].first_child = static_cast<int32_t>(nodes_.size());
      // Keys that end here come first.
      for (; begin < end && entries[begin].first.size() == depth; ++begin) {
        if (nodes_[node].value < 0) nodes_[node].value = entries[begin].second;
      }
      while (begin < end) {
        const char32_t c = entries[begin].first[depth];
        size_t stop = begin;
        while (stop < end && entries[stop].first[depth] == c) ++stop;
        nodes_.push_back({c, 0, -1});
        next_level.push_back({begin, stop});
        begin = stop;
      }
      ++node;
    }
    level = std::move(next_level);
  }
  nodes_.push_back({0, static_cast<int32_t>(nodes_.size()), -1});
}

CodePointTrie::Match CodePointTrie::longest_prefix(std::u32string_view text) const {
  Match best;
  const Node* node = nodes_.data();
  for (size_t i = 0; i < text.size(); ++i) {
    const Node* first = nodes_.data() + node[0].first_child;
    const Node* last = nodes_.data() + node[1].first_child;
    node = std::lower_bound(first, last, text[i],
                            [](const Node& child, char32_t c) { return child.code_point < c; });
    if (node == last || node->code_point != text[i]) break;
    if (node->value >= 0) best = {node->value, static_cast<int32_t>(i) + 1};
  }
  return best;
}

}  // namespace quell

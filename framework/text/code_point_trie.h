// Strings of code points with a number each, for longest-match look-ups that allocate nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quell {

class CodePointTrie {
 public:
  struct Match {
    int32_t value = -1;  // -1: nothing matches
    int32_t length = 0;  // in code points
  };
  using Entry = std::pair<std::u32string, int32_t>;

  // Values are not negative. Of equal keys the first counts.
  explicit CodePointTrie(std::vector<Entry> entries);

  // The longest non-empty key that `text` starts with.
  Match longest_prefix(std::u32string_view text) const;

  bool empty() const { return nodes_.size() == 2; }

 private:
  // The children of a node lie side by side, in the order of their code points, up to the first
  // child of the next node. A last node without meaning ends the children of the one before.
  struct Node {
    char32_t code_point;  // that leads here
    int32_t first_child;
    int32_t value;
  };
  std::vector<Node> nodes_;  // level by level; node 0 is the root
};

}  // namespace quell

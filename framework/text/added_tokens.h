// Tokens such as [MASK] that are found in a text before it is tokenized.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "framework/text/code_point_trie.h"
#include "framework/text/stages.h"

namespace quell {

struct AddedToken {
  std::string content;  // UTF-8
  int32_t id = 0;
  bool special = false;      // left out by decode when asked to
  bool normalized = false;   // looked for in the normalized text, not in the original
  bool single_word = false;  // not inside a longer word
  bool strip_left = false;   // takes the white space before it along
  bool strip_right = false;  // and after it
};

class AddedTokens {
 public:
  // A part of a text: an added token, or (id -1) text still to be tokenized.
  struct Segment {
    int32_t id = -1;
    Span span;
  };

  // `normalizer` may be null; it makes the patterns of tokens that are looked for in normalized
  // text. Of two tokens with the same pattern the first counts. With `splits_special`, special
  // tokens that are found remain text.
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer, bool splits_special);

  // Leftmost, longest matches. The segments cover `text` in order and are not empty.
  std::vector<Segment> split_original(std::u32string_view text) const;
  std::vector<Segment> split_normalized(std::u32string_view text) const;

  bool is_special(int64_t id) const { return special_ids_.contains(id); }

 private:
  std::vector<Segment> split(std::u32string_view text, const CodePointTrie& patterns) const;

  std::vector<AddedToken> tokens_;
  bool splits_special_;
  CodePointTrie original_, normalized_;  // pattern -> index into tokens_
  std::unordered_set<int64_t> special_ids_;
};

}  // namespace quell

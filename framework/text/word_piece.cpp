#include "framework/text/word_piece.h"

#include <array>

#include "framework/base/error.h"
#include "framework/text/unicode.h"

namespace quell {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

void clean_up_spaces(std::string& text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kReplacements = {{
      {" .", "."},
      {" ?", "?"},
      {" !", "!"},
      {" ,", ","},
      {" ' ", "'"},
      {" n't", "n't"},
      {" 'm", "'m"},
      {" 's", "'s"},
      {" 've", "'ve"},
      {" 're", "'re"},
  }};
  for (const auto& [from, to] : kReplacements) replace_all(text, from, to);
}

namespace {

// Of the pieces that start a word, or of those that continue one, without their prefix.
CodePointTrie make_trie(const Vocabulary& vocabulary, const std::u32string& prefix) {
  std::vector<CodePointTrie::Entry> entries;
  for (int64_t id = 0; id <= vocabulary.largest_id(); ++id) {
    const auto token = vocabulary.token(id);
    if (!token) continue;
    std::u32string text = unicode::decode_utf8(*token);
    if (!text.starts_with(prefix)) continue;
    entries.emplace_back(text.substr(prefix.size()), static_cast<int32_t>(id));
  }
  return CodePointTrie(std::move(entries));
}

}  // namespace

WordPiece::WordPiece(const Vocabulary& vocabulary, const WordPieceOptions& options)
    : heads_(make_trie(vocabulary, U"")),
      continuations_(make_trie(vocabulary, unicode::decode_utf8(options.continuation_prefix))),
      unknown_id_(vocabulary.find(options.unknown_token).value_or(-1)),
      max_word_length_(static_cast<size_t>(options.max_word_length)) {
  QUELL_ASSERT(unknown_id_ >= 0, "the unknown token is not in the vocabulary");
}

void WordPiece::tokenize(std::u32string_view word, std::vector<Piece>& pieces) const {
  const size_t before = pieces.size();
  const auto size = static_cast<int32_t>(word.size());
  bool known = word.size() <= max_word_length_;
  for (int32_t begin = 0; known && begin < size;) {
    const CodePointTrie& trie = begin == 0 ? heads_ : continuations_;
    const auto match = trie.longest_prefix(word.substr(static_cast<size_t>(begin)));
    known = match.value >= 0;
    pieces.push_back({match.value, {begin, begin + match.length}});
    begin += match.length;
  }
  if (known) return;
  pieces.resize(before);
  pieces.push_back({unknown_id_, {0, size}});
}

std::vector<std::string> WordPieceDecoder::decode(std::vector<std::string> tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (i > 0 && token.starts_with(prefix_)) {
      token.erase(0, prefix_.size());
    } else if (i > 0) {
      token.insert(0, " ");
    }
    if (!cleanup_) continue;
    clean_up_spaces(token);
    replace_all(token, " do not", " don't");
  }
  return tokens;
}

}  // namespace quell

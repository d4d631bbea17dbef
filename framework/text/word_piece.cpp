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

// Applied to one token at a time, in this order, as the published decoder does.
void clean_up(std::string& token) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kReplacements = {{
      {" .", "."},
      {" ?", "?"},
      {" !", "!"},
      {" ,", ","},
      {" ' ", "'"},
      {" n't", "n't"},
      {" 'm", "'m"},
      {" do not", " don't"},
      {" 's", "'s"},
      {" 've", "'ve"},
      {" 're", "'re"},
  }};
  for (const auto& [from, to] : kReplacements) replace_all(token, from, to);
}

}  // namespace

WordPiece::WordPiece(const Vocabulary& vocabulary, const WordPieceOptions& options)
    : max_word_length_(static_cast<size_t>(options.max_word_length)) {
  const auto unknown = vocabulary.find(options.unknown_token);
  QUELL_ASSERT(unknown.has_value(), "the unknown token is not in the vocabulary");
  unknown_id_ = *unknown;
  const std::u32string prefix = unicode::decode_utf8(options.continuation_prefix);
  for (int64_t id = 0; id <= vocabulary.largest_id(); ++id) {
    const auto token = vocabulary.token(id);
    if (!token) continue;
    const std::u32string text = unicode::decode_utf8(*token);
    heads_.insert(text, static_cast<int32_t>(id));
    if (text.starts_with(prefix)) {
      continuations_.insert(text.substr(prefix.size()), static_cast<int32_t>(id));
    }
  }
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

std::string WordPieceDecoder::decode(const std::vector<std::string_view>& tokens) const {
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool continues = i > 0 && tokens[i].starts_with(prefix_);
    std::string token = i == 0 || continues ? "" : " ";
    token += continues ? tokens[i].substr(prefix_.size()) : tokens[i];
    if (cleanup_) clean_up(token);
    text += token;
  }
  return text;
}

}  // namespace quell

#include "framework/text/added_tokens.h"

#include <algorithm>
#include <numeric>

#include "framework/text/unicode.h"

namespace quell {
namespace {

bool is_single_word(std::u32string_view text, Span span) {
  const auto begin = static_cast<size_t>(span.begin), end = static_cast<size_t>(span.end);
  const bool joined_left = begin > 0 && unicode::is_word_character(text[begin - 1]);
  const bool joined_right = end < text.size() && unicode::is_word_character(text[end]);
  return !joined_left && !joined_right;
}

Span with_stripped_space(std::u32string_view text, Span span, const AddedToken& token,
                         int32_t earliest) {
  const auto is_space = [&](int32_t i) {
    return unicode::is_whitespace(text[static_cast<size_t>(i)]);
  };
  if (token.strip_left) {
    while (span.begin > earliest && is_space(span.begin - 1)) --span.begin;
  }
  if (token.strip_right) {
    while (span.end < static_cast<int32_t>(text.size()) && is_space(span.end)) ++span.end;
  }
  return span;
}

// Patterns of the tokens that are looked for in normalized text, or of the others.
CodePointTrie make_trie(const std::vector<AddedToken>& tokens, bool normalized,
                        const Normalizer* normalizer) {
  std::vector<CodePointTrie::Entry> patterns;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].normalized != normalized) continue;
    AlignedText pattern{unicode::decode_utf8(tokens[i].content), {}};
    pattern.source.resize(pattern.text.size());
    if (normalized && normalizer) normalizer->normalize(pattern);
    if (!pattern.text.empty()) patterns.emplace_back(pattern.text, static_cast<int32_t>(i));
  }
  return CodePointTrie(std::move(patterns));
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer,
                         bool splits_special)
    : tokens_(std::move(tokens)),
      splits_special_(splits_special),
      original_(make_trie(tokens_, false, normalizer)),
      normalized_(make_trie(tokens_, true, normalizer)) {
  for (const AddedToken& token : tokens_) {
    if (token.special) special_ids_.insert(token.id);
  }
}

std::vector<AddedTokens::Segment> AddedTokens::split_original(std::u32string_view text) const {
  return split(text, original_);
}

std::vector<AddedTokens::Segment> AddedTokens::split_normalized(std::u32string_view text) const {
  return split(text, normalized_);
}

std::vector<AddedTokens::Segment> AddedTokens::split(std::u32string_view text,
                                                     const CodePointTrie& patterns) const {
  std::vector<Segment> segments;
  const auto size = static_cast<int32_t>(text.size());
  int32_t done = 0;  // everything before is in `segments`
  for (int32_t i = 0; i < size && !patterns.empty();) {
    const auto match = patterns.longest_prefix(text.substr(static_cast<size_t>(i)));
    if (match.value < 0) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(match.value)];
    Span span{i, i + match.length};
    i = span.end;  // also behind a match that is refused: its characters are used up
    if (token.special && splits_special_) continue;
    if (token.single_word && !is_single_word(text, span)) continue;
    span = with_stripped_space(text, span, token, done);
    if (done < span.begin) segments.push_back({-1, {done, span.begin}});
    segments.push_back({token.id, span});
    done = span.end;
    i = std::max(i, done);
  }
  if (done < size) segments.push_back({-1, {done, size}});
  return segments;
}

}  // namespace quell

#include "tasks/metrics/squad.h"

#include <algorithm>
#include <map>
#include <vector>

#include "framework/text/unicode.h"

namespace quell {
namespace {

// str.isspace() of Python: white space, and the four separators of ASCII.
bool is_blank(char32_t c) { return unicode::is_whitespace(c) || (c >= 0x1C && c <= 0x1F); }

bool is_article(std::u32string_view word) {
  return word == U"a" || word == U"an" || word == U"the";
}

// Words by the regular expression \b(a|an|the)\b: articles also end at other signs than blanks.
std::u32string without_articles(std::u32string_view text) {
  std::u32string result;
  for (size_t i = 0; i < text.size();) {
    if (!unicode::is_alphanumeric(text[i])) {
      result.push_back(text[i++]);
      continue;
    }
    size_t end = i;
    while (end < text.size() && unicode::is_alphanumeric(text[end])) ++end;
    const std::u32string_view word = text.substr(i, end - i);
    result.append(is_article(word) ? std::u32string_view(U" ") : word);
    i = end;
  }
  return result;
}

// The normalized words of an answer.
std::vector<std::u32string> words_of(std::string_view text) {
  std::u32string lower = unicode::lowercase(unicode::decode_utf8(text));
  std::erase_if(lower, [](char32_t c) { return c < 0x80 && unicode::is_punctuation(c); });
  std::vector<std::u32string> words;
  bool inside = false;
  for (const char32_t c : without_articles(lower)) {
    if (!is_blank(c) && !inside) words.emplace_back();
    inside = !is_blank(c);
    if (inside) words.back().push_back(c);
  }
  return words;
}

double f1_of(const std::vector<std::u32string>& answer,
             const std::vector<std::u32string>& reference, SquadVersion version) {
  if (version == SquadVersion::kV2 && (answer.empty() || reference.empty())) {
    return answer.empty() == reference.empty() ? 1 : 0;
  }
  std::map<std::u32string_view, int64_t> open;
  for (const std::u32string& word : reference) ++open[word];
  int64_t shared = 0;
  for (const std::u32string& word : answer) {
    const auto found = open.find(word);
    if (found != open.end() && found->second-- > 0) ++shared;
  }
  if (shared == 0) return 0;
  const double precision = static_cast<double>(shared) / static_cast<double>(answer.size());
  const double recall = static_cast<double>(shared) / static_cast<double>(reference.size());
  return 2 * precision * recall / (precision + recall);
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::u32string joined;
  for (const std::u32string& word : words_of(text)) {
    if (!joined.empty()) joined.push_back(U' ');
    joined.append(word);
  }
  return unicode::encode_utf8(joined);
}

AnswerScore score_answer(std::string_view answer, std::span<const std::string> references,
                         SquadVersion version) {
  const auto words = words_of(answer);
  AnswerScore best;
  for (const std::string& text : references) {
    const auto reference = words_of(text);
    best.exact = std::max(best.exact, words == reference ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(words, reference, version));
  }
  return best;
}

std::string_view without_left_blanks(std::string_view text) {
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = begin + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    const std::u32string sign = unicode::decode_utf8(text.substr(begin, end - begin));
    if (sign.size() != 1 || !is_blank(sign[0])) break;
    begin = end;
  }
  return text.substr(begin);
}

}  // namespace quell

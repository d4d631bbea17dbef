#include "tasks/data/wikitext.h"

#include <algorithm>

#include "framework/text/unicode.h"
#include "tasks/data/python_text.h"

namespace quell {
namespace {

constexpr auto npos = std::u32string::npos;

void replace_all(std::u32string& text, std::u32string_view from, std::u32string_view to) {
  text = replaced(text, from, to);
}

// Takes the blanks off the inner sides of brackets or quotation marks.
void tighten(std::u32string& text, char32_t open, char32_t close) {
  std::u32string result;
  size_t begin = 0;
  while (true) {
    const size_t first = text.find(open, begin);
    const size_t last = first == npos ? npos : text.find(close, first + 1);
    if (last == npos) break;
    result.append(text, begin, first + 1 - begin);
    result.append(stripped(std::u32string_view(text).substr(first + 1, last - first - 1)));
    result.push_back(close);
    begin = last + 1;
  }
  text = result.append(text, begin);
}

// Of the first level: " = Title = ".
bool is_title(std::string_view line) {
  constexpr const char* kBlanks = " \t\r";
  const size_t first = line.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return false;
  line = line.substr(first, line.find_last_not_of(kBlanks) + 1 - first);
  return line.size() > 3 && line.starts_with("= ") && line.ends_with(" =") &&
         !line.starts_with("= =");
}

}  // namespace

std::vector<std::string> wikitext_pages(std::string_view text) {
  std::vector<std::string> pages;
  size_t begin = 0;
  const auto add = [&](size_t end) {
    const std::string_view page = text.substr(begin, end - begin);
    if (page.find_first_not_of(" \t\r\n") != std::string_view::npos) pages.emplace_back(page);
    begin = end;
  };
  for (size_t line = 0; line < text.size();) {
    const size_t end = std::min(text.find('\n', line), text.size());
    if (is_title(text.substr(line, end - line))) add(line);
    line = end + 1;
  }
  add(text.size());
  return pages;
}

std::string detokenize_wikitext(std::string_view page) {
  std::u32string text = unicode::decode_utf8(page);
  // The original has a rule for an apostrophe before a digit here, which never applies.
  replace_all(text, U"s '", U"s'");
  replace_all(text, U" @-@ ", U"-");
  replace_all(text, U" @,@ ", U",");
  replace_all(text, U" @.@ ", U".");
  for (const char32_t mark : {U':', U';', U'.', U'!', U'?', U','}) {
    replace_all(text, std::u32string{U' ', mark, U' '}, std::u32string{mark, U' '});
  }
  tighten(text, U'(', U')');
  tighten(text, U'[', U']');
  tighten(text, U'{', U'}');
  tighten(text, U'"', U'"');
  tighten(text, U'\'', U'\'');
  replace_all(text, U"= = = =", U"====");
  replace_all(text, U"= = =", U"===");
  replace_all(text, U"= =", U"==");
  replace_all(text, U" \u00B0 ", U"\u00B0");
  replace_all(text, U" \n", U"\n");
  replace_all(text, U"\n ", U"\n");
  replace_all(text, U" N ", U" 1 ");
  replace_all(text, U" 's", U"'s");
  return unicode::encode_utf8(text);
}

int64_t count_words(std::string_view text) {
  int64_t words = 1;
  bool in_blanks = false;
  for (const char32_t c : unicode::decode_utf8(text)) {
    const bool blank = unicode::is_python_blank(c);
    words += blank && !in_blanks;
    in_blanks = blank;
  }
  return words;
}

}  // namespace quell

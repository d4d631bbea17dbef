#include "framework/text/bert_normalizer.h"

#include <algorithm>

#include "framework/text/unicode.h"

namespace quell {
namespace {

bool is_chinese(char32_t c) {
  if (c < 0x3400) return false;
  return c <= 0x4DBF || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void clean(AlignedText& in) {
  size_t kept = 0;
  for (size_t i = 0; i < in.text.size(); ++i) {
    char32_t c = in.text[i];
    const bool is_blank = unicode::is_whitespace(c);
    const bool is_line_or_tab = c == '\t' || c == '\n' || c == '\r';
    if (!is_line_or_tab && (c == 0 || c == 0xFFFD || unicode::is_other(c))) continue;
    in.text[kept] = is_blank ? U' ' : c;
    in.source[kept] = in.source[i];
    ++kept;
  }
  in.text.resize(kept);
  in.source.resize(kept);
}

void space_chinese(AlignedText& in) {
  if (std::none_of(in.text.begin(), in.text.end(), is_chinese)) return;
  AlignedText out;
  for (size_t i = 0; i < in.text.size(); ++i) {
    const char32_t c = in.text[i];
    const std::u32string spaced = is_chinese(c) ? std::u32string{U' ', c, U' '} : std::u32string{c};
    out.text += spaced;
    out.source.insert(out.source.end(), spaced.size(), in.source[i]);
  }
  in = std::move(out);
}

// Canonical decomposition (NFD) as the Hugging Face library aligns it. Sorting marks into canonical
// order moves a mark, but the first parts of decompositions take the sources in their original
// order, and any further part the source of what stands before it.
void decompose(AlignedText& in) {
  struct Part {
    char32_t c;
    int combining_class;
    bool is_first;
  };
  std::vector<Part> parts;
  parts.reserve(in.text.size());
  std::u32string decomposition;
  for (char32_t c : in.text) {
    decomposition.clear();
    unicode::append_decomposition(c, decomposition);
    for (size_t k = 0; k < decomposition.size(); ++k) {
      parts.push_back({decomposition[k], unicode::combining_class(decomposition[k]), k == 0});
    }
  }
  for (auto part = parts.begin(); part != parts.end();) {
    const auto is_starter = [](const Part& p) { return p.combining_class == 0; };
    const auto first = std::find_if_not(part, parts.end(), is_starter);
    part = std::find_if(first, parts.end(), is_starter);
    std::stable_sort(first, part, [](const Part& a, const Part& b) {
      return a.combining_class < b.combining_class;
    });
  }
  AlignedText out;
  size_t used = 0;
  for (const Part& part : parts) {
    if (part.is_first) ++used;
    out.text.push_back(part.c);
    out.source.push_back(in.source[used - 1]);
  }
  in = std::move(out);
}

void strip_accents(AlignedText& in) {
  // Nothing below U+00C0 decomposes or is a mark.
  if (std::all_of(in.text.begin(), in.text.end(), [](char32_t c) { return c < 0xC0; })) return;
  decompose(in);
  size_t kept = 0;
  for (size_t i = 0; i < in.text.size(); ++i) {
    if (unicode::is_nonspacing_mark(in.text[i])) continue;
    in.text[kept] = in.text[i];
    in.source[kept] = in.source[i];
    ++kept;
  }
  in.text.resize(kept);
  in.source.resize(kept);
}

void lowercase(AlignedText& in) {
  std::u32string text;
  text.reserve(in.text.size());
  std::vector<int32_t> source;
  source.reserve(in.text.size());
  for (size_t i = 0; i < in.text.size(); ++i) {
    unicode::append_lowercase(in.text[i], text);
    source.resize(text.size(), in.source[i]);
  }
  in = {std::move(text), std::move(source)};
}

}  // namespace

void BertNormalizer::normalize(AlignedText& text) const {
  if (options_.clean_text) clean(text);
  if (options_.space_chinese) space_chinese(text);
  if (options_.strip_accents.value_or(options_.lowercase)) strip_accents(text);
  if (options_.lowercase) lowercase(text);
}

void BertPreTokenizer::split(std::u32string_view text, std::vector<Span>& words) const {
  const auto size = static_cast<int32_t>(text.size());
  int32_t begin = 0;  // of the word being read
  for (int32_t i = 0; i < size; ++i) {
    const char32_t c = text[static_cast<size_t>(i)];
    const bool is_space = unicode::is_whitespace(c);
    if (!is_space && !unicode::is_punctuation(c)) continue;
    if (begin < i) words.push_back({begin, i});
    if (!is_space) words.push_back({i, i + 1});
    begin = i + 1;
  }
  if (begin < size) words.push_back({begin, size});
}

}  // namespace quell

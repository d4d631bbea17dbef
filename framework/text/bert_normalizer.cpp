#include "framework/text/bert_normalizer.h"

#include <algorithm>

#include "framework/text/normalizers.h"

namespace quell {
namespace {

bool is_chinese(char32_t c) {
  if (c < 0x3400) return false;
  return c <= 0x4DBF || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void clean(AlignedText& in) {
  const auto is_kept = [](char32_t c) {
    const bool is_line_or_tab = c == '\t' || c == '\n' || c == '\r';
    return is_line_or_tab || !(c == 0 || c == 0xFFFD || unicode::is_other(c));
  };
  keep_if(in, is_kept);
  for (char32_t& c : in.text) {
    if (unicode::is_whitespace(c)) c = U' ';
  }
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

void strip_accents(AlignedText& in) {
  // Nothing below U+00C0 decomposes or is a mark.
  if (std::all_of(in.text.begin(), in.text.end(), [](char32_t c) { return c < 0xC0; })) return;
  decompose(in, unicode::Decomposition::kCanonical);
  keep_if(in, [](char32_t c) { return !unicode::is_nonspacing_mark(c); });
}

}  // namespace

void BertNormalizer::normalize(AlignedText& text) const {
  if (options_.clean_text) clean(text);
  if (options_.space_chinese) space_chinese(text);
  if (options_.strip_accents.value_or(options_.lowercase)) strip_accents(text);
  if (options_.lowercase) lowercase(text);
}

}  // namespace quell

#include "framework/text/unicode.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>

#include "framework/base/error.h"
#include "framework/base/utf8.h"

namespace quell::unicode {
namespace {

constexpr int kCategoryVersion = 8;
constexpr int kNormalizationVersion = 9;
constexpr int kScriptVersion = 9;

bool assigned_in(char32_t c, int unicode_version) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] != 0 && age[0] <= unicode_version;
}

bool has_category(char32_t c, uint32_t mask) {
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & mask) != 0;
}

// Lower-case pairs that are younger than the ICU of Debian 12: first..last, step 1 or 2, distance.
struct CaseRange {
  char32_t first, last;
  int step;
  int32_t distance;
};
constexpr std::array kYoungCases = {
    CaseRange{0x1C89, 0x1C89, 1, 1},      CaseRange{0xA7CB, 0xA7CB, 1, 0x264 - 0xA7CB},
    CaseRange{0xA7CC, 0xA7CE, 2, 1},      CaseRange{0xA7D2, 0xA7D4, 2, 1},
    CaseRange{0xA7DA, 0xA7DA, 1, 1},      CaseRange{0xA7DC, 0xA7DC, 1, 0x19B - 0xA7DC},
    CaseRange{0x10D50, 0x10D65, 1, 0x20}, CaseRange{0x16EA0, 0x16EB8, 1, 0x1B},
};

using GetNormalizer = const icu::Normalizer2*(UErrorCode&);

const icu::Normalizer2& normalizer(GetNormalizer* get) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* found = get(status);
  if (U_FAILURE(status)) {
    throw Error(std::string("ICU has no normalization data (") + u_errorName(status) +
                "); reinstall libicu");
  }
  return *found;
}

}  // namespace

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string text;
  text.reserve(bytes.size());
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const size_t size = bytes.size();
  for (size_t i = 0; i < size;) {
    UChar32 c;
    U8_NEXT_OR_FFFD(data, i, size, c);
    text.push_back(static_cast<char32_t>(c));
  }
  return text;
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (char32_t c : text) {
    std::array<uint8_t, U8_MAX_LENGTH> unit;
    int32_t length = 0;
    const bool valid = c <= 0x10FFFF && !U_IS_SURROGATE(c);
    U8_APPEND_UNSAFE(unit.data(), length, valid ? c : char32_t{0xFFFD});
    bytes.append(reinterpret_cast<const char*>(unit.data()), static_cast<size_t>(length));
  }
  return bytes;
}

bool is_valid_utf8(std::string_view bytes) {
  return find_invalid_utf8(bytes) == std::string_view::npos;
}

bool is_whitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return u_isUWhiteSpace(static_cast<UChar32>(c));
}

bool is_other(char32_t c) {
  if (c < 0x80) return c < 0x20 || c == 0x7F;
  return has_category(c, U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK) &&
         assigned_in(c, kCategoryVersion);
}

bool is_nonspacing_mark(char32_t c) {
  if (c < 0x300) return false;
  // Classified otherwise in Unicode 8 than today.
  if (c == 0x1734) return true;
  if (c == 0x1885 || c == 0x1886 || c == 0xA9BD || c == 0x111C9) return false;
  return has_category(c, U_GC_MN_MASK) && assigned_in(c, kCategoryVersion);
}

bool is_mark(char32_t c) { return c >= 0x300 && has_category(c, U_GC_M_MASK); }

bool is_numeric(char32_t c) {
  return c < 0x80 ? c >= '0' && c <= '9' : has_category(c, U_GC_N_MASK);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  }
  // Classified otherwise in Unicode 8 than today.
  if (c == 0x166D || c == 0x111C9) return true;
  return has_category(c, U_GC_P_MASK) && assigned_in(c, kCategoryVersion);
}

bool is_word_character(char32_t c) {
  return u_isUAlphabetic(static_cast<UChar32>(c)) ||
         has_category(c, U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK) || c == 0x200C || c == 0x200D;
}

std::optional<int> script(char32_t c) {
  // Since Unicode 9 these have another script.
  if (c == 0x0589 || c == 0x061C) return USCRIPT_COMMON;
  if (c == 0x0953 || c == 0x0954) return USCRIPT_DEVANAGARI;
  constexpr char32_t kLongVowel = 0x30FC;
  if (c == U' ' || !assigned_in(c, kScriptVersion)) return std::nullopt;
  UErrorCode status = U_ZERO_ERROR;
  const UScriptCode found = uscript_getScript(static_cast<UChar32>(c), &status);
  if (U_FAILURE(status) || found == USCRIPT_UNKNOWN) return std::nullopt;
  const bool is_kana = found == USCRIPT_HIRAGANA || found == USCRIPT_KATAKANA || c == kLongVowel;
  return is_kana ? USCRIPT_HAN : found;
}

void append_lowercase(char32_t c, std::u32string& out) {
  if (c < 0x80) {
    out.push_back(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return;
  }
  if (c == 0x130) {
    out.append(U"i\u0307");
    return;
  }
  for (const CaseRange& range : kYoungCases) {
    if (c >= range.first && c <= range.last && (c - range.first) % range.step == 0) {
      out.push_back(static_cast<char32_t>(static_cast<int32_t>(c) + range.distance));
      return;
    }
  }
  out.push_back(static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))));
}

bool is_alphanumeric(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  return has_category(c, U_GC_L_MASK | U_GC_N_MASK);
}

static std::u32string to_utf32(const icu::UnicodeString& text) {
  std::u32string result;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    result.push_back(static_cast<char32_t>(text.char32At(i)));
  }
  return result;
}

std::u32string lowercase(std::u32string_view text) {
  icu::UnicodeString whole;
  for (const char32_t c : text) whole.append(static_cast<UChar32>(c));
  whole.toLower(icu::Locale::getRoot());
  return to_utf32(whole);
}

std::u32string capitalize(std::u32string_view text) {
  if (text.empty()) return {};
  icu::UnicodeString first(static_cast<UChar32>(text.front()));
  first.toTitle(nullptr, icu::Locale::getRoot());
  std::u32string result = to_utf32(first), lowered_first;
  append_lowercase(text.front(), lowered_first);
  return result + lowercase(text).substr(lowered_first.size());
}

bool is_python_blank(char32_t c) { return is_whitespace(c) || (c >= 0x1C && c <= 0x1F); }

void append_decomposition(char32_t c, std::u32string& out, Decomposition kind) {
  if (c < 0xA0 || !assigned_in(c, kNormalizationVersion)) {
    out.push_back(c);
    return;
  }
  const icu::Normalizer2& decomposition =
      normalizer(kind == Decomposition::kCanonical ? &icu::Normalizer2::getNFDInstance
                                                   : &icu::Normalizer2::getNFKDInstance);
  icu::UnicodeString decomposed;
  if (!decomposition.getDecomposition(static_cast<UChar32>(c), decomposed)) {
    out.push_back(c);
    return;
  }
  for (int32_t i = 0; i < decomposed.length();) {
    const UChar32 part = decomposed.char32At(i);
    out.push_back(static_cast<char32_t>(part));
    i += U16_LENGTH(part);
  }
}

int combining_class(char32_t c) {
  if (c < 0x300 || !assigned_in(c, kNormalizationVersion)) return 0;
  return u_getCombiningClass(static_cast<UChar32>(c));
}

std::optional<char32_t> compose(char32_t first, char32_t second) {
  if (second < 0x300) return std::nullopt;
  const UChar32 composed =
      normalizer(&icu::Normalizer2::getNFCInstance)
          .composePair(static_cast<UChar32>(first), static_cast<UChar32>(second));
  if (composed < 0) return std::nullopt;
  return static_cast<char32_t>(composed);
}

}  // namespace quell::unicode

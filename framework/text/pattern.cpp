#include "framework/text/pattern.h"

#include <fmt/format.h>
#include <unicode/regex.h>

#include "framework/base/error.h"
#include "framework/text/oniguruma.h"

namespace quell {

const char* const kGpt2Words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

// A text in UTF-16, and the code point that each unit belongs to where some need two.
struct Utf16 {
  std::u16string units;
  std::vector<int32_t> code_points;  // empty: unit i is code point i

  explicit Utf16(std::u32string_view text) {
    units.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
      const char32_t c = text[i];
      if (c < 0x10000) {
        units.push_back(static_cast<char16_t>(c));
      } else {
        units.push_back(static_cast<char16_t>(0xD7C0 + (c >> 10)));
        units.push_back(static_cast<char16_t>(0xDC00 + (c & 0x3FF)));
      }
    }
    if (units.size() == text.size()) return;
    for (size_t i = 0; i < text.size(); ++i) {
      code_points.insert(code_points.end(), text[i] < 0x10000 ? 1 : 2, static_cast<int32_t>(i));
    }
    code_points.push_back(static_cast<int32_t>(text.size()));
  }

  int32_t code_point(int32_t unit) const {
    return code_points.empty() ? unit : code_points[static_cast<size_t>(unit)];
  }
};

// Of about a millisecond each, by ICU's count.
constexpr int32_t kLargestMatchTime = 1000;

void check(UErrorCode status) {
  if (U_SUCCESS(status)) return;
  throw DataError(
      fmt::format("a regular expression of tokenizer.json met a text that it cannot "
                  "split in time or memory ({}); shorten the text",
                  u_errorName(status)));
}

}  // namespace

void StringPattern::find(std::u32string_view text, std::vector<Span>& matches) const {
  if (text_.empty()) return;
  for (size_t at = text.find(text_); at != std::u32string_view::npos;
       at = text.find(text_, at + text_.size())) {
    matches.push_back({static_cast<int32_t>(at), static_cast<int32_t>(at + text_.size())});
  }
}

struct RegexPattern::Compiled {
  std::unique_ptr<icu::RegexPattern> pattern;
};

RegexPattern::RegexPattern(const std::string& pattern) : compiled_(std::make_unique<Compiled>()) {
  UErrorCode status = U_ZERO_ERROR;
  UParseError place;
  compiled_->pattern.reset(icu::RegexPattern::compile(
      icu::UnicodeString::fromUTF8(icu_from_oniguruma(pattern)), 0, place, status));
  if (U_SUCCESS(status)) return;
  throw DataError(fmt::format("\"{}\" is not a regular expression that ICU knows: {}", pattern,
                              u_errorName(status)));
}

RegexPattern::~RegexPattern() = default;

void RegexPattern::find(std::u32string_view text, std::vector<Span>& matches) const {
  if (text.empty()) return;  // also for an expression that nothing fulfils
  const Utf16 utf16(text);
  const auto size = static_cast<int32_t>(utf16.units.size());
  const icu::UnicodeString units(false, utf16.units.data(), size);  // not copied
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::RegexMatcher> matcher(compiled_->pattern->matcher(units, status));
  check(status);
  matcher->setTimeLimit(kLargestMatchTime, status);
  for (int32_t last = -1; matcher->find(status);) {
    const int32_t begin = matcher->start(status), end = matcher->end(status);
    // As in Oniguruma, nothing is not found right behind something.
    if (begin < end || begin != last) {
      matches.push_back({utf16.code_point(begin), utf16.code_point(end)});
    }
    last = end;
  }
  check(status);
}

}  // namespace quell

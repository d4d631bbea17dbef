#include "framework/base/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace quell {
namespace {

// UTF-8 of a code point, whether or not there may be such a one, in `length` bytes.
std::string encode(uint32_t code, int length) {
  if (length == 1) return std::string(1, static_cast<char>(code));
  std::string text(static_cast<size_t>(length), '\0');
  for (int i = length - 1; i > 0; --i, code >>= 6) {
    text[static_cast<size_t>(i)] = static_cast<char>(0x80 | (code & 0x3F));
  }
  text[0] = static_cast<char>((0xF0 << (4 - length) & 0xFF) | code);
  return text;
}

// Every number of up to 21 bits in every length that can hold it: valid exactly when it is the
// shortest form of a Unicode scalar value (Unicode 3.9, table 3-7).
TEST(Utf8, TheShortestFormsOfScalarValues) {
  constexpr uint32_t kBounds[] = {0, 0x80, 0x800, 0x10000, 0x200000};
  for (int length = 1; length <= 4; ++length) {
    for (uint32_t code = 0; code < kBounds[length]; code += code < 0x1000 ? 1 : 7) {
      const bool shortest = code >= kBounds[length - 1];
      const bool scalar = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
      const size_t found = find_invalid_utf8("a" + encode(code, length) + "b");
      ASSERT_EQ(found, shortest && scalar ? std::string::npos : 1u) << code << " " << length;
    }
  }
}

TEST(Utf8, CutCharacters) {
  for (const std::string text : {"\u00e9", "\u20ac", "\U0001F600"}) {
    EXPECT_EQ(find_invalid_utf8(text), std::string::npos);
    for (size_t size = 1; size < text.size(); ++size) {
      EXPECT_EQ(find_invalid_utf8("xy" + text.substr(0, size)), 2u);
      EXPECT_EQ(find_invalid_utf8("xy" + text.substr(0, size) + "z"), 2u);
      EXPECT_EQ(find_invalid_utf8("xy" + text.substr(size)), 2u);
    }
  }
  EXPECT_EQ(find_invalid_utf8(""), std::string::npos);
  EXPECT_EQ(find_invalid_utf8("\xFF"), 0u);
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8("aé→😀"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8(""), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("\xF4\x8F\xBF\xBF\xEF\xBF\xBF"), std::string_view::npos);
  for (const char* bad :
       {"ab\x80", "ab\xC0\x80", "ab\xC3", "ab\xE0\x9F\x80", "ab\xED\xA0\x80", "ab\xF0\x8F\x80\x80",
        "ab\xF4\x90\x80\x80", "ab\xF5\x80\x80\x80", "ab\xE2\x82", "ab\xE2(\x82"}) {
    EXPECT_EQ(find_invalid_utf8(bad), 2u) << bad;
  }
}

TEST(Utf8, NamesOfForeignFilesAreShownAsFarAsTheyAreText) {
  EXPECT_EQ(shown("encoder.é"), "encoder.é");
  EXPECT_EQ(shown("encoder.\xFFweight"), "encoder.");
  EXPECT_EQ(shown(std::string(1000, 'a')), std::string(200, 'a'));
  EXPECT_EQ(shown(std::string(199, 'a') + "é"), std::string(199, 'a'));  // never half a character
}

}  // namespace
}  // namespace quell

// The character classes against a probe of the Hugging Face library over every code point.
#include "framework/text/unicode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "framework/text/bert_normalizer.h"
#include "tests/unit/text/support.h"

namespace quell {
namespace {

constexpr char32_t kCodePoints = 0x110000;

bool is_surrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

std::u32string parse_parts(const std::string& dotted) {
  std::u32string parts;
  std::istringstream in(dotted);
  for (std::string part; std::getline(in, part, '.');) {
    parts.push_back(static_cast<char32_t>(std::stoul(part, nullptr, 16)));
  }
  return parts;
}

class CodePoints : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ifstream in(test::data_folder() / "code_points.txt");
    for (std::string kind, first, second; in >> kind >> first >> second;) {
      const auto begin = static_cast<char32_t>(std::stoul(first, nullptr, 16));
      if (kind == "lower" || kind == "decomposition") {
        mappings_[kind][begin] = parse_parts(second);
        continue;
      }
      auto& members = classes_[kind];
      members.resize(kCodePoints);
      const auto end = static_cast<char32_t>(std::stoul(second, nullptr, 16));
      for (char32_t c = begin; c <= end; ++c) members[c] = true;
    }
    ASSERT_EQ(classes_.size(), 6u);
    ASSERT_EQ(mappings_.size(), 2u);
  }

  template <class Predicate>
  void expect_class(const std::string& kind, Predicate predicate) {
    for (char32_t c = 0; c < kCodePoints; ++c) {
      if (is_surrogate(c)) continue;
      ASSERT_EQ(predicate(c), bool(classes_[kind][c])) << kind << " U+" << std::hex << uint32_t(c);
    }
  }

  template <class Mapping>
  void expect_mapping(const std::string& kind, Mapping mapping) {
    for (char32_t c = 0; c < kCodePoints; ++c) {
      if (is_surrogate(c) || (kind == "decomposition" && c >= 0xAC00 && c <= 0xD7A3)) continue;
      const auto found = mappings_[kind].find(c);
      const std::u32string expected =
          found == mappings_[kind].end() ? std::u32string{c} : found->second;
      ASSERT_EQ(mapping(c), expected) << kind << " U+" << std::hex << uint32_t(c);
    }
  }

  std::map<std::string, std::vector<bool>> classes_;
  std::map<std::string, std::map<char32_t, std::u32string>> mappings_;
};

std::u32string normalized(char32_t c, const BertNormalizerOptions& options) {
  AlignedText text{std::u32string{c}, {0}};
  BertNormalizer(options).normalize(text);
  EXPECT_EQ(text.text.size(), text.source.size());
  return text.text;
}

// Scripts have the same numbers here and there, but for their names.
TEST(Scripts, AreThoseOfTheLibrary) {
  std::ifstream in(test::data_folder() / "scripts.txt");
  std::vector<int> expected(kCodePoints, -1);
  uint32_t first = 0, last = 0;
  for (int number = 0; in >> std::hex >> first >> last >> std::dec >> number;) {
    std::fill(expected.begin() + first, expected.begin() + last + 1, number);
  }
  std::map<int, int> names, numbers;
  for (char32_t c = 0; c < kCodePoints; ++c) {
    if (is_surrogate(c)) continue;
    const int found = unicode::script(c).value_or(-1);
    ASSERT_EQ(names.try_emplace(expected[c], found).first->second, found)
        << "U+" << std::hex << uint32_t(c);
    ASSERT_EQ(numbers.try_emplace(found, expected[c]).first->second, expected[c])
        << "U+" << std::hex << uint32_t(c);
  }
  EXPECT_EQ(names.at(-1), -1);
  EXPECT_EQ(names.size(), 136u);
}

TEST_F(CodePoints, ClassesAreTheLibrarys) {
  expect_class("white_space", unicode::is_whitespace);
  expect_class("punctuation", unicode::is_punctuation);
  expect_class("mark", unicode::is_nonspacing_mark);
}

TEST_F(CodePoints, CleaningIsTheLibrarys) {
  const BertNormalizerOptions clean{true, false, false, false};
  expect_class("removed", [&](char32_t c) { return normalized(c, clean).empty(); });
  expect_class("blank", [&](char32_t c) { return c != ' ' && normalized(c, clean) == U" "; });
  const BertNormalizerOptions chinese{false, true, false, false};
  expect_class("chinese", [&](char32_t c) { return normalized(c, chinese).size() == 3; });
}

TEST_F(CodePoints, CaseAndDecompositionAreTheLibrarys) {
  expect_mapping("lower", [](char32_t c) {
    std::u32string out;
    unicode::append_lowercase(c, out);
    return out;
  });
  expect_mapping("decomposition", [](char32_t c) {
    std::u32string out;
    unicode::append_decomposition(c, out);
    return out;
  });
}

TEST(Utf8, EveryCodePointSurvives) {
  std::u32string all;
  for (char32_t c = 0; c < kCodePoints; ++c) {
    if (!is_surrogate(c)) all.push_back(c);
  }
  const std::string bytes = unicode::encode_utf8(all);
  EXPECT_TRUE(unicode::is_valid_utf8(bytes));
  EXPECT_TRUE(unicode::decode_utf8(bytes) == all);
}

TEST(Utf8, InvalidPartsAreReplaced) {
  // The example of the Unicode standard, table 3-8.
  EXPECT_EQ(unicode::decode_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            U"a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(unicode::decode_utf8("\xC0\xAF"), U"\uFFFD\uFFFD");
  EXPECT_FALSE(unicode::is_valid_utf8("\xED\xA0\x80"));
  EXPECT_EQ(unicode::encode_utf8(std::u32string{char32_t{0xD800}, char32_t{0x110000}}),
            "\xEF\xBF\xBD\xEF\xBF\xBD");
}

// A normalized text never points outside the original, and never backwards by more than marks do.
TEST(BertNormalizer, SourcesStayInsideTheText) {
  const std::u32string text = U"\u0130\u0323 \u4E00x\u0344\u0323\uAC01\U0001D165\u0323";
  AlignedText aligned{text, std::vector<int32_t>(text.size())};
  for (size_t i = 0; i < text.size(); ++i) aligned.source[i] = static_cast<int32_t>(i);
  BertNormalizer({}).normalize(aligned);
  ASSERT_EQ(aligned.text.size(), aligned.source.size());
  for (int32_t source : aligned.source) {
    EXPECT_GE(source, 0);
    EXPECT_LT(source, static_cast<int32_t>(text.size()));
  }
}

// As str.capitalize() and str.isspace() of Python 3.11.
TEST(Python, CapitalizesAndKnowsBlanks) {
  const std::pair<std::u32string, std::u32string> cases[] = {{U"", U""},
                                                             {U"she KNEADS", U"She kneads"},
                                                             {U"\u00e9VA Digs", U"\u00c9va digs"},
                                                             {U"1A", U"1a"},
                                                             {U"\u00df\u00c4", U"Ss\u00e4"},
                                                             {U"\u01c6X", U"\u01c5x"},
                                                             {U"\u0130A", U"\u0130a"},
                                                             {U"X\u03a3 A", U"X\u03c2 a"}};
  for (const auto& [text, expected] : cases) EXPECT_TRUE(unicode::capitalize(text) == expected);
  for (const char32_t c : U"\x1c\x1d\x1e\x1f \t\n\u0085\u00a0\u3000") {
    EXPECT_EQ(unicode::is_python_blank(c), c != 0) << static_cast<uint32_t>(c);
  }
  EXPECT_FALSE(unicode::is_python_blank(0x1b));
}

}  // namespace
}  // namespace quell

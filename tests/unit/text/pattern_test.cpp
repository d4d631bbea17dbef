// Regular expressions of tokenizer.json: Oniguruma's, read by ICU. The right values are those of
// the Hugging Face library tokenizers 0.23.3 (pre_tokenizers.Split and normalizers.Replace).
#include "framework/text/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "framework/base/error.h"
#include "framework/text/normalizers.h"
#include "framework/text/pre_tokenizers.h"
#include "framework/text/unicode.h"

namespace quell {
namespace {

AlignedText aligned(const std::string& text) {
  AlignedText result{unicode::decode_utf8(text), {}};
  result.source.resize(result.text.size());
  std::iota(result.source.begin(), result.source.end(), 0);
  return result;
}

std::vector<std::string> split(const PreTokenizer& pre_tokenizer, const std::string& text) {
  Words words{aligned(text), {}, true};
  words.spans.push_back({0, static_cast<int32_t>(words.text.text.size())});
  pre_tokenizer.split(words);
  std::vector<std::string> pieces;
  for (const Span& span : words.spans) {
    const auto begin = static_cast<size_t>(span.begin), end = static_cast<size_t>(span.end);
    pieces.push_back(unicode::encode_utf8(words.text.text.substr(begin, end - begin)));
  }
  return pieces;
}

std::vector<std::string> split(const std::string& expression, const std::string& text) {
  return split(
      PatternSplit(std::make_unique<RegexPattern>(expression), SplitBehavior::kIsolated, false),
      text);
}

struct SplitCase {
  const char* expression;
  const char* text;
  std::vector<std::string> pieces;
};

const std::vector<SplitCase> kSplits = {
    {R"(\w+|[^\w\s]+)",
     "\U0001F469\u200D\U0001F680 it's x\u00B2_1 \u24B6",
     {"\U0001F469\u200D\U0001F680", " ", "it", "'", "s", " ", "x\u00B2_1", " ", "\u24B6"}},
    {R"(\w+)", "a\u200Db\u00B2c", {"a", "\u200D", "b\u00B2c"}},
    {R"([\w]+)", "a\u200Db\u00B2c", {"a", "\u200D", "b", "\u00B2", "c"}},
    {R"(\W)", "\u00B2\u00E9-", {"\u00B2\u00E9", "-"}},
    {R"([[:word:]]+)", "ab\u203Fc-d", {"ab\u203Fc", "-", "d"}},
    {R"(\bb)", "ab b\u0301 \u00B2b", {"ab ", "b", "\u0301 \u00B2b"}},
    {R"(\B)", "ab c", {"a", "b c"}},
    {R"(.+)", "a\rb\u2028c\nd", {"a\rb\u2028c", "\n", "d"}},
    {R"(^.)", "ab\ncd\n", {"a", "b\n", "c", "d\n"}},
    {R"(.$)", "ab\ncd\r\nef", {"a", "b", "\ncd", "\r", "\ne", "f"}},
    {R"(\s*$)", "a \n", {"a", " \n"}},
    {R"(b\Z)", "ab\nb\n", {"ab\n", "b", "\n"}},
    {R"(\h+)", "deadxbeef", {"dead", "x", "beef"}},
    {R"(\v)", "a\013b\u2028c", {"a", "\013", "b\u2028c"}},
    {R"([^\v\n]+)", "a\013b\nc", {"a", "\013", "b", "\n", "c"}},
    {R"([[:punct:]]+)", "a+b.c$d", {"a", "+", "b", ".", "c", "$", "d"}},
    {R"([[:xdigit:]]+)", "12\u0663fg", {"12", "\u0663", "f", "g"}},
    {R"(\p{^L}+)", "ab12c", {"ab", "12", "c"}},
    {R"([\p{L}&&[^a-z]]+)", "abCD\u00E9", {"ab", "CD\u00E9"}},
    {R"([^[a-z]&&[aeiou]]+)", "abcde", {"a", "bcd", "e"}},
    {R"(a{,2}b)", "aaab", {"a", "aab"}},
    {R"({)", "a{b}", {"a", "{", "b}"}},
    {R"([a&b-]+)", "a&b-c", {"a&b-", "c"}},
    {R"((?<=[a-z])(?=[A-Z]))", "camelCaseWord", {"camel", "Case", "Word"}},
    {R"(a*)", "baac", {"b", "aa", "c"}},
    {R"((?i)h|b)", "HabB", {"H", "a", "b", "B"}},
    {R"(h(?i)e|ll)", "hLLhe", {"hLL", "he"}},
    {R"((?i)\p{Lu})", "aBc", {"a", "B", "c"}},
    {R"((?i)[\p{Lu}])", "aBc", {"a", "B", "c"}},
    {R"('(?i:[sdmt]|ll|ve|re))", "IT'S we'Ll", {"IT", "'S", " we", "'Ll"}},
    {R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     "Hi there,  12345\n\n ok!\r\n",
     {"Hi", " there", ",", " ", " ", "123", "45", "\n\n", " ok", "!\r\n"}},
    {R"(\x{4e2d}|\u6587)", "\u4E2D\u6587x", {"\u4E2D", "\u6587", "x"}},
    {R"(\R)", "a\r\nb\u0085c", {"a", "\r\n", "b", "\u0085", "c"}},
    {R"(\O)", "a\n", {"a", "\n"}},
    {R"(\N+)", "a\rb\nc", {"a\rb", "\n", "c"}},
    {R"([]a]+)", "a]b", {"a]", "b"}},
    {R"(l++(?#many)o)", "hello", {"he", "llo"}},
};

TEST(RegexPattern, SplitsAsTheHuggingFaceLibrary) {
  for (const SplitCase& one : kSplits) {
    EXPECT_EQ(split(one.expression, one.text), one.pieces) << one.expression;
  }
}

struct ReplaceCase {
  const char* expression;
  const char* text;
  const char* result;
};

const std::vector<ReplaceCase> kReplacements = {
    {R"(^)", "ab\ncd", "_ab\n_cd"},    {R"($)", "ab\n", "ab_\n_"},
    {R"(\b)", "hi you", "_hi_ _you_"}, {R"(x?)", "ab", "_a_b_"},
    {R"((?<=a))", "aba", "a_ba_"},
};

TEST(RegexPattern, PutsTextWhereNothingIsMatched) {
  for (const ReplaceCase& one : kReplacements) {
    AlignedText text = aligned(one.text);
    ReplaceNormalizer(std::make_unique<RegexPattern>(one.expression), U"_").normalize(text);
    EXPECT_EQ(unicode::encode_utf8(text.text), one.result) << one.expression;
    EXPECT_EQ(text.source.size(), text.text.size());
  }
}

TEST(RegexPattern, RefusesWhatIcuWouldReadInAnotherWay) {
  for (const char* expression :
       {R"(a\Kb)",      R"(\X)",      R"(\y)",    R"(\Ga)",   R"((?m).)",      R"((?x)a b)",
        R"(a{2}?)",     R"(a{1,2}+)", R"(\Qa\E)", R"(\xE4)",  R"([a-z--[b]])", R"([[:graph:]])",
        R"(\p{Print})", R"(\012)",    R"([\R])",  R"([&&a])", R"((?~a))",      R"((?|a))",
        R"([a)",        R"(\)",       R"((?<n)",  R"(\p{L)",  R"(\x{41)",      R"(\u41)"}) {
    EXPECT_THROW(RegexPattern{expression}, DataError) << expression;
  }
}

TEST(PreTokenizers, UnicodeScriptsDividesWhereTheScriptChanges) {
  using Pieces = std::vector<std::string>;
  const ScriptSplit scripts;
  EXPECT_EQ(split(scripts, "  a"), Pieces({"a"}));  // as the library does
  EXPECT_EQ(split(scripts, " "), Pieces());
  EXPECT_EQ(split(scripts, "a b \u4E2D\u3072 \u30FC1"),
            Pieces({"a b ", "\u4E2D\u3072 \u30FC", "1"}));
  EXPECT_EQ(split(scripts, "1 a 2"), Pieces({"1 ", "a ", "2"}));
  EXPECT_EQ(split(scripts, "\u0378a\u0378\u4E2D"), Pieces({"a\u0378", "\u4E2D"}));
}

TEST(PreTokenizers, FixedLengthCountsCharacters) {
  using Pieces = std::vector<std::string>;
  const FixedLengthSplit threes(3);
  EXPECT_EQ(split(threes, "abcdefgh"), Pieces({"abc", "def", "gh"}));
  EXPECT_EQ(split(threes, "\u00E9\u4E2D\u6587\u5B57a"), Pieces({"\u00E9\u4E2D\u6587", "\u5B57a"}));
  EXPECT_EQ(split(threes, ""), Pieces());
  EXPECT_EQ(split(FixedLengthSplit(INT32_MAX), "abc"), Pieces({"abc"}));
}

}  // namespace
}  // namespace quell

// YAML syntax: our tree keeps positions, and the traps of yaml-cpp are closed.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <string>

#include "framework/base/error.h"
#include "framework/config/load.h"

namespace quell {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

ConfigNode parse(const std::string& text) {
  Problems problems;
  ConfigNode node = parse_yaml(text, "exp.yaml", problems);
  problems.throw_if_any();
  return node;
}

std::string error_of(const std::string& text) {
  try {
    parse(text);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Parse, MarksCountFromOne) {
  const ConfigNode root = parse("# comment\nquant:\n  bits: 8\n  rules: [a, {b: c}]\n");
  const ConfigNode& quant = *root.find("quant");
  EXPECT_EQ(quant.key_mark.text(), "exp.yaml:2:1");
  EXPECT_EQ(quant.find("bits")->key_mark.text(), "exp.yaml:3:3");
  EXPECT_EQ(quant.find("bits")->mark.text(), "exp.yaml:3:9");
  EXPECT_EQ(quant.find("rules")->children[1].find("b")->mark.text(), "exp.yaml:4:18");
  const ConfigNode copy = quant;  // yaml-cpp 0.7 and 0.8 lose marks here
  EXPECT_EQ(copy.find("bits")->mark.text(), "exp.yaml:3:9");
}

TEST(Parse, ColumnsCountCharacters) {
  const ConfigNode root = parse("a: 1\nb: {name: \"\u00e9\U0001F600\", seed: x}\n");
  EXPECT_EQ(root.find("b")->find("seed")->key_mark.text(), "exp.yaml:2:17");
  EXPECT_EQ(error_of("\u00e9: [1, 2\nb: 3\n"),
            "exp.yaml:2:2: not valid YAML: end of sequence flow not found");
  EXPECT_EQ(error_of("{\u00e9: *x}\n").substr(0, 12), "exp.yaml:1:5");
}

TEST(Parse, TellsQuotedFromPlain) {
  const ConfigNode root = parse("a: 8\nb: \"8\"\nc: '8'\nd: |\n  8\ne: \"null\"\n");
  EXPECT_FALSE(root.find("a")->quoted);
  EXPECT_TRUE(root.find("b")->quoted);
  EXPECT_TRUE(root.find("c")->quoted);
  EXPECT_TRUE(root.find("d")->quoted);
  EXPECT_TRUE(root.find("e")->is_scalar());
}

TEST(Parse, NullInEverySpelling) {
  const ConfigNode root = parse("a:\nb: ~\nc: null\nd: Null\ne: NULL\n");
  for (const ConfigNode& child : root.children) EXPECT_TRUE(child.is_null()) << child.key;
  EXPECT_EQ(root.find("a")->mark.text(), "exp.yaml:1:1");  // not at the next token
  EXPECT_EQ(root.find("b")->mark.text(), "exp.yaml:2:4");
}

TEST(Parse, ByteOrderMarkAndWindowsLineEnds) {
  const ConfigNode root = parse(
      "\xEF\xBB\xBF"
      "a: 1\r\nb: x\r\n");
  EXPECT_EQ(root.find("a")->text, "1");
  EXPECT_EQ(root.find("b")->text, "x");
}

TEST(Parse, EmptyText) {
  EXPECT_TRUE(parse("").is_null());
  EXPECT_TRUE(parse("# only a comment\n").is_null());
}

TEST(Parse, RepeatedKeysAreAllReported) {
  Problems problems;
  parse_yaml("quant:\n  bits: 8\n  bits: 6\nrules:\n  - {a: 1, a: 2}\n", "exp.yaml", problems);
  EXPECT_THAT(problems.lines(),
              ElementsAre("exp.yaml:3:3: quant.bits: this key is set twice, first in line 2",
                          "exp.yaml:5:12: rules[0].a: this key is set twice, first in line 5"));
}

TEST(Parse, SyntaxErrorsHaveAPosition) {
  EXPECT_THAT(error_of("a: [1, 2\nb: 3\n"), StartsWith("exp.yaml:2:2: not valid YAML: "));
  EXPECT_THAT(error_of("a: 1\n\tb: 2\n"), StartsWith("exp.yaml:2:"));
  EXPECT_THAT(error_of("a: {b: 1\n"), StartsWith("exp.yaml:"));
  EXPECT_THAT(error_of("a: 1\n b: 2\n"), StartsWith("exp.yaml:2:"));
}

TEST(Parse, QuotesMustBeClosed) {
  // yaml-cpp takes the rest of the file for the text.
  EXPECT_EQ(error_of("a: \"open\nb: 3\n"), "exp.yaml:1:4: this quote is never closed");
  EXPECT_EQ(error_of("é: 1\na: 'it''s\nb: 3\n"), "exp.yaml:2:4: this quote is never closed");
  EXPECT_EQ(error_of("a: \"x\\\"\n"), "exp.yaml:1:4: this quote is never closed");
  EXPECT_EQ(parse("a: 'it''s'\n").find("a")->text, "it's");
  EXPECT_EQ(parse("é: \"x\\\\\"\n").children[0].text, "x\\");
}

TEST(Parse, MergeKeysPointToBase) {
  EXPECT_EQ(error_of("a: {x: 1}\nb:\n  <<: {x: 1}\n"),
            "exp.yaml:3:3: merge keys (<<) are not supported: share settings with \"base:\"");
}

TEST(Parse, AliasesAreRefused) {
  const char* message =
      ": \"*\" starts an alias, which is not supported: put text that starts with * in quotes, and "
      "share settings with \"base:\"";
  EXPECT_EQ(error_of("a: &x 1\nb: *x\n"), "exp.yaml:2:4" + std::string(message));
  EXPECT_EQ(error_of("sites: *query\n"), "exp.yaml:1:8" + std::string(message));
  EXPECT_EQ(error_of("a: &x [*x]\n"), "exp.yaml:1:8" + std::string(message));  // endless in a tree
}

TEST(Parse, TagsAndOddKeysAreRefused) {
  EXPECT_THAT(error_of("a: !!int 8\n"), HasSubstr("exp.yaml:1:4: the tag "));
  EXPECT_THAT(error_of("? [a, b]\n: c\n"), HasSubstr("a key must be plain text, found a list"));
  EXPECT_THAT(error_of("~: c\n"), HasSubstr("a key must be plain text, found nothing"));
}

TEST(Parse, OneDocumentOnly) {
  EXPECT_THAT(error_of("a: 1\n---\nb: 2\n"), HasSubstr("a second YAML document"));
}

TEST(Parse, RefusesBytesThatAreNoText) {
  EXPECT_EQ(error_of("a: 1\nb: \xFF\n"), "exp.yaml:2: the file is not UTF-8 text");
  EXPECT_EQ(error_of(std::string("a: \0", 4)), "exp.yaml:1: the file is not UTF-8 text");
  EXPECT_EQ(error_of("a: \xC0\x80\n"), "exp.yaml:1: the file is not UTF-8 text");      // overlong
  EXPECT_EQ(error_of("a: \xED\xA0\x80\n"), "exp.yaml:1: the file is not UTF-8 text");  // surrogate
  EXPECT_EQ(error_of("a: \xE2\x82"), "exp.yaml:1: the file is not UTF-8 text");        // cut
  EXPECT_EQ(parse("a: \xF0\x9F\x99\x82\n").find("a")->text, "\xF0\x9F\x99\x82");
}

TEST(Parse, DeepNestingIsAnErrorNotACrash) {
  EXPECT_THAT(error_of(std::string(100000, '[')), StartsWith("exp.yaml:1:"));
  EXPECT_THAT(error_of(std::string(100000, '{')), StartsWith("exp.yaml:1:"));
}

TEST(Parse, MissingFile) {
  Problems problems;
  EXPECT_THROW(load_yaml("/nonexistent/exp.yaml", problems), ConfigError);
  EXPECT_THROW(load_yaml("/", problems), ConfigError);
}

TEST(Problems, AreSortedByPosition) {
  Problems problems;
  problems.add({"b.yaml", 3, 1}, "x", "third");
  problems.add({"b.yaml", 2, 9}, "x", "second");
  problems.add({"b.yaml", 2, 10}, "", "without a path");
  problems.add({"a.yaml", 1, 1}, "x", "other file");
  problems.add({"a.yaml", 1, 1}, "x", "other file");
  EXPECT_THAT(problems.lines(), ElementsAre("b.yaml:2:9: x: second", "b.yaml:2:10: without a path",
                                            "b.yaml:3:1: x: third", "a.yaml:1:1: x: other file"));
  try {
    problems.throw_if_any();
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.exit_code(), 2);
    EXPECT_THAT(error.what(), HasSubstr("x: second\nb.yaml:2:10"));
  }
}

}  // namespace
}  // namespace quell

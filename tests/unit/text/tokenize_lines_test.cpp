#include "framework/text/tokenize_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "framework/base/error.h"
#include "tests/unit/text/support.h"

namespace quell {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class TokenizeLines : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    tokenizer_ = load_tokenizer(test::data_folder() / "bert").release();
  }
  static void TearDownTestSuite() { delete tokenizer_; }

  std::vector<json> run(const std::string& input, const TokenizeLinesOptions& options = {}) {
    std::istringstream in(input);
    std::ostringstream out;
    summary_ = tokenize_lines(*tokenizer_, in, "in.txt", out, options);
    output_ = out.str();
    std::istringstream lines(output_);
    std::vector<json> results;
    for (std::string line; std::getline(lines, line);) results.push_back(json::parse(line));
    return results;
  }
  std::string error_of(const std::string& input) {
    try {
      run(input, {.format = LineFormat::kJson});
    } catch (const DataError& error) {
      return error.what();
    }
    return "no DataError";
  }

  static Tokenizer* tokenizer_;
  TokenizeLinesSummary summary_;
  std::string output_;
};
Tokenizer* TokenizeLines::tokenizer_ = nullptr;

TEST_F(TokenizeLines, PlainTextGivesEverythingOfAnEncoding) {
  const auto results = run("Hello world\n");
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0], json::parse(R"({"ids": [101, 7592, 2088, 102], "types": [0, 0, 0, 0],
      "tokens": ["[CLS]", "hello", "world", "[SEP]"], "offsets": [[0, 0], [0, 5], [6, 11], [0, 0]],
      "sequence": [-1, 0, 0, -1]})"));
}

TEST_F(TokenizeLines, EveryPlainLineIsAText) {
  const auto results = run("\n \nhello\r\n\n\xEF\xBB\xBFx");
  ASSERT_EQ(results.size(), 5u);
  EXPECT_EQ(results[0]["ids"], json({101, 102}));
  EXPECT_EQ(results[2]["ids"], json({101, 7592, 102}));
  EXPECT_EQ(run("\n\n").size(), 2u);
  EXPECT_EQ(run("").size(), 0u);
}

TEST_F(TokenizeLines, JsonLinesAreRecognized) {
  const auto results = run("\n\xEF\xBB\xBF{\"text\": \"hello\"}\n", {.format = LineFormat::kPlain});
  EXPECT_EQ(results.size(), 2u);
  const std::string lines =
      "\xEF\xBB\xBF{\"id\": 7, \"text\": \"a\", \"pair\": \"b\", \"label\": [1]}\n\n{\"text\": "
      "\"\"}\n";
  const auto parsed = run(lines);
  ASSERT_EQ(parsed.size(), 2u);
  EXPECT_EQ(parsed[0]["id"], 7);
  EXPECT_EQ(parsed[0]["label"], json({1}));
  EXPECT_EQ(parsed[0]["sequence"], json({-1, 0, -1, 1, -1}));
  EXPECT_FALSE(parsed[0].contains("text"));
  // Text that only looks a little like JSON stays text.
  EXPECT_EQ(run("{braces}\n{\"text\": \"a\"}\n").size(), 2u);
  EXPECT_EQ(run("{\"text\": \"a\"}\n", {.format = LineFormat::kPlain})[0]["tokens"][1], "{");
}

TEST_F(TokenizeLines, OptionsOfALineReplaceTheDefaults) {
  TokenizeLinesOptions options{.tokenizer = {.max_length = 3}, .decode = true};
  const auto results =
      run(R"({"text": "a b c"})"
          "\n"
          R"({"text": "a b c", "op": {"max_length": 4, "special": false, "decode": false}})"
          "\n"
          R"({"text": "a b c", "op": {"max_length": 4, "stride": 1, "overflow": true}})"
          "\n",
          options);
  EXPECT_EQ(results[0]["decoded"], "[CLS] a [SEP]");
  EXPECT_EQ(results[0]["decoded_skip"], "a");
  EXPECT_EQ(results[1]["tokens"], json({"a", "b", "c"}));
  EXPECT_FALSE(results[1].contains("decoded"));
  ASSERT_EQ(results[2]["windows"].size(), 2u);
  EXPECT_EQ(results[2]["windows"][1]["decoded_skip"], "b c");
}

TEST_F(TokenizeLines, RefusalsAreAnswers) {
  const auto results =
      run(R"({"id": "x", "text": "a b", "op": {"max_length": 3, "strategy": "only_second"}})"
          "\n"
          R"({"text": "a b"})"
          "\n");
  EXPECT_EQ(results[0]["id"], "x");
  EXPECT_TRUE(results[0]["error"].is_string());
  EXPECT_FALSE(results[0].contains("ids"));
  EXPECT_EQ(summary_.lines, 2);
  EXPECT_EQ(summary_.refused, 1);
}

TEST_F(TokenizeLines, OutputIsUtf8OrAscii) {
  const std::string input = "\xE5\xA4\xA7 \xFF\n";
  run(input);
  EXPECT_THAT(output_, HasSubstr("\xE5\xA4\xA7"));
  run(input, {.ascii = true});
  EXPECT_THAT(output_, HasSubstr("\\u5927"));
  // Broken bytes inside JSON count as U+FFFD too.
  EXPECT_EQ(run("{\"text\": \"\xFF hello\"}\n")[0]["offsets"][1], json({2, 7}));
}

TEST_F(TokenizeLines, BadInputNamesTheLine) {
  const std::string good = "{\"text\": \"a\"}\n";
  EXPECT_THAT(error_of(good + "hello\n"), HasSubstr("in.txt:2: not a JSON object"));
  EXPECT_THAT(error_of("{\"txt\": \"a\"}\n"), HasSubstr("in.txt:1: \"text\" is missing"));
  EXPECT_THAT(error_of("{\"text\": 3}\n"), HasSubstr("\"text\" is not a string"));
  EXPECT_THAT(error_of("{\"text\": \"a\", \"pair\": []}\n"), HasSubstr("\"pair\""));
  EXPECT_THAT(error_of("{\"text\": \"\\ud800\"}\n"), HasSubstr("in.txt:1:"));
  const auto with_op = [](const std::string& op) {
    return "{\"text\": \"a\", \"op\": " + op + "}";
  };
  EXPECT_THAT(error_of(with_op("1")), HasSubstr("\"op\" is not an object"));
  EXPECT_THAT(error_of(with_op("{\"maxlength\": 3}")), HasSubstr("did you mean \"max_length\""));
  EXPECT_THAT(error_of(with_op("{\"max_length\": -1}")), HasSubstr("expected an integer from 0"));
  EXPECT_THAT(error_of(with_op("{\"max_length\": 1e99}")), HasSubstr("\"max_length\""));
  EXPECT_THAT(error_of(with_op("{\"special\": 1}")), HasSubstr("\"special\""));
  EXPECT_THAT(error_of(with_op("{\"strategy\": \"only_frist\"}")),
              HasSubstr("did you mean \"only_first\""));
}

TEST_F(TokenizeLines, DeepNestingIsRefused) {
  const std::string deep = std::string(1000000, '[') + std::string(1000000, ']');
  EXPECT_THAT(error_of("{\"text\": \"a\", \"x\": " + deep + "}\n"), HasSubstr("in.txt:1:"));
}

TEST_F(TokenizeLines, UnwritableOutputIsAnError) {
  std::istringstream in("a\n");
  std::ostringstream out;
  out.setstate(std::ios::badbit);
  EXPECT_THROW(tokenize_lines(*tokenizer_, in, "in.txt", out, {}), Error);
}

}  // namespace
}  // namespace quell

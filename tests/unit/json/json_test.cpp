#include "framework/json/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "framework/base/error.h"
#include "framework/base/utf8.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::string refusal(std::string_view text) {
  return message_of<DataError>([&] { parse_json(text, "x.json"); });
}

TEST(Json, Parses) {
  EXPECT_EQ(parse_json(R"({"a": [1, 2.5, "é"]})", "x")["a"][2], "é");
  EXPECT_EQ(parse_json(" 3 ", "x"), 3);
}

TEST(Json, ErrorsHaveLineAndColumn) {
  EXPECT_THAT(refusal("{\n  \"a\": tru\n}"), StartsWith("x.json:2:"));
  EXPECT_THAT(refusal("[1,\n 2,\n ]"), StartsWith("x.json:3:2: not valid JSON"));
  // Columns count characters, not bytes.
  EXPECT_THAT(refusal("[\"éé\" 1]"), StartsWith("x.json:1:7:"));
  EXPECT_THAT(refusal(""), StartsWith("x.json:1:1: not valid JSON"));
  EXPECT_THAT(refusal("{} x"), StartsWith("x.json:1:4:"));
  EXPECT_THAT(refusal("[1e999]"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("[\"\xff\"]"), HasSubstr("UTF-8"));
  EXPECT_THAT(refusal("[NaN]"), HasSubstr("not valid JSON"));
}

TEST(Json, MessagesAreShortTextWhateverTheFileSays) {
  const std::string message = refusal("[\"; expected \xFF\"]");
  EXPECT_THAT(message, HasSubstr("not valid JSON"));
  EXPECT_EQ(find_invalid_utf8(message), std::string::npos);
  EXPECT_THAT(refusal("{;"), EndsWith("; expected string literal"));
  const std::string digits(10'000, '9'), key(10'000, 'k');
  EXPECT_LT(refusal("[" + digits + "e9999]").size(), 500u);
  EXPECT_LT(refusal("{\"" + key + "\": 1, \"" + key + "\": 2}").size(), 500u);
}

TEST(Json, RefusesRepeatedKeysAndDeepNesting) {
  EXPECT_THAT(refusal("{\"a\": 1,\n \"a\": 2}"), StartsWith("x.json:2:5: key \"a\" appears twice"));
  EXPECT_EQ(parse_json(R"([{"a": 1}, {"a": {"a": 2}}])", "x").size(), 2u);
  EXPECT_THAT(refusal(std::string(5'000'000, '[')), HasSubstr("nested deeper than 100 levels"));
  const std::string allowed = std::string(100, '[') + std::string(100, ']');
  EXPECT_EQ(parse_json(allowed, "x").size(), 1u);
}

TEST(Json, ReadsFilesWithByteOrderMark) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_json_file(folder.write("a.json", "\xEF\xBB\xBF{\"a\": 1}"))["a"], 1);
  EXPECT_THAT(message_of<DataError>([&] { read_json_file(folder / "none.json"); }),
              HasSubstr("none.json: no such file"));
}

TEST(Json, ReadsLines) {
  const TemporaryFolder folder;
  const auto path = folder.write("a.jsonl", "\xEF\xBB\xBF{\"a\": 1}\r\n\n  \n[2]\n3");
  std::vector<std::string> seen;
  read_json_lines(path, [&](const nlohmann::json& value, int64_t line) {
    seen.push_back(std::to_string(line) + value.dump());
  });
  EXPECT_THAT(seen, ElementsAre("1{\"a\":1}", "4[2]", "53"));
}

TEST(Json, LineErrorsNameTheLine) {
  const TemporaryFolder folder;
  const auto ignore = [](const nlohmann::json&, int64_t) {};
  const auto path = folder.write("a.jsonl", "1\n2\n{\"a\": \n");
  EXPECT_THAT(message_of<DataError>([&] { read_json_lines(path, ignore); }),
              HasSubstr("a.jsonl:3:"));
  EXPECT_THAT(message_of<DataError>([&] { read_json_lines(folder / "none", ignore); }),
              HasSubstr("no such file"));
  EXPECT_THAT(message_of<DataError>([&] { read_json_lines(folder.path(), ignore); }),
              HasSubstr("is a folder"));
}

TEST(Json, NumbersRestoreExactly) {
  EXPECT_EQ(format_json_number(0.1f), "0.1");
  EXPECT_EQ(format_json_number(0.1), "0.1");
  EXPECT_EQ(format_json_number(-0.0f), "-0");
  EXPECT_EQ(format_json_number(NAN), "null");
  EXPECT_EQ(format_json_number(std::numeric_limits<double>::infinity()), "null");
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const uint32_t bits = random();
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    if (!std::isfinite(value)) continue;
    const std::string text = format_json_number(value);
    EXPECT_EQ(std::strtof(text.c_str(), nullptr), value);
    EXPECT_LE(text.size(), 15u);  // sign, 9 digits, point, e-45
    ASSERT_TRUE(parse_json(text, "number").is_number()) << text;
  }
}

TEST(Json, OwnFilesAreCheckedWhereTheyAreRead) {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& text) {
    int64_t found = 0;
    read_own_json(folder.write("own.json", text), [&](const nlohmann::ordered_json& root) {
      found = root.at("a").at("b").get<int64_t>();
    });
    return found;
  };
  EXPECT_EQ(read(R"({"a": {"b": 3}})"), 3);
  for (const char* damaged :
       {"{}", "[]", "null", R"({"a": 1})", R"({"a": {"c": 3}})", R"({"a": {"b": "3"}})"}) {
    EXPECT_THAT(message_of<DataError>([&] { read(damaged); }), HasSubstr("own.json: damaged: "))
        << damaged;
  }
  EXPECT_THAT(message_of<DataError>([&] { read("{"); }),
              testing::AllOf(HasSubstr("own.json:1:2: not valid JSON"), HasSubstr("remove it")));
  EXPECT_THAT(message_of<DataError>([&] { read(R"({"a": 1, "a": 2})"); }), HasSubstr("twice"));
}

TEST(Json, MembersStayInTheirOrder) {
  EXPECT_EQ(parse_ordered_json(R"({"b": 1, "a": 2})", "x").dump(), R"({"b":1,"a":2})");
  EXPECT_THAT(message_of<DataError>([] { parse_ordered_json(R"({"b": 1, "b": 2})", "x"); }),
              HasSubstr("key \"b\" appears twice"));
}

TEST(Json, PipesAreNotWaitedFor) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message_of<DataError>([&] { read_json_file(folder / "pipe"); }),
              HasSubstr("not a file"));
  EXPECT_THAT(message_of<DataError>(
                  [&] { read_json_lines(folder / "pipe", [](const nlohmann::json&, int64_t) {}); }),
              HasSubstr("not a file"));
}

}  // namespace
}  // namespace quell

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <filesystem>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/io/table.h"

namespace quell {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Table : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(file_); }
  const std::filesystem::path& write(const std::string& content) {
    write_file(file_, content);
    return file_;
  }
  std::vector<std::string> rows(const std::string& content) {
    std::vector<std::string> result;
    read_tsv(write(content), [&](int64_t line, std::span<const std::string_view> fields) {
      std::string row = fmt::format("{}:", line);
      for (std::string_view field : fields) row += fmt::format("[{}]", field);
      result.push_back(row);
    });
    return result;
  }

  std::filesystem::path file_ =
      std::filesystem::temp_directory_path() / ("quell_table_test_" + std::to_string(::getpid()));
};

TEST_F(Table, SplitsAtTabsOnly) {
  EXPECT_THAT(rows("a\tb c\t\n\t\tx\n"), ElementsAre("1:[a][b c][]", "2:[][][x]"));
}

TEST_F(Table, QuotesAreOrdinary) {
  EXPECT_THAT(rows("\" a\tb\n\"c\nd\"\te\n"), ElementsAre("1:[\" a][b]", "2:[\"c]", "3:[d\"][e]"));
}

TEST_F(Table, RemovesByteOrderMarkAndCarriageReturns) {
  EXPECT_THAT(rows("\xEF\xBB\xBFq\tr\r\n1\t2\r\n"), ElementsAre("1:[q][r]", "2:[1][2]"));
}

TEST_F(Table, SkipsBlankLinesAndTakesALastLineWithoutEnd) {
  EXPECT_THAT(rows("a\n\n \r\nb"), ElementsAre("1:[a]", "4:[b]"));
  EXPECT_TRUE(rows("").empty());
}

TEST_F(Table, OtherLineSeparatorsStay) {
  EXPECT_THAT(rows("a\xE2\x80\xA8z\x0B\tb\n"), ElementsAre("1:[a\xE2\x80\xA8z\x0B][b]"));
}

TEST_F(Table, RefusesUtf16AndMissingFiles) {
  try {
    rows(
        std::string("\xFF\xFE"
                    "a\0",
                    4));
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("is UTF-16 text, expected UTF-8"));
  }
  EXPECT_THROW(read_tsv("/nonexistent/file.tsv", [](int64_t, auto) {}), DataError);
}

TEST_F(Table, KnowsJsonLines) {
  EXPECT_TRUE(is_jsonl("x.jsonl"));
  EXPECT_FALSE(is_jsonl("x.tsv"));
  EXPECT_TRUE(is_jsonl(write("\n {\"a\": 1}")));
  EXPECT_FALSE(is_jsonl(write("a\tb")));
}

class Csv : public Table {
 protected:
  std::vector<std::string> csv(const std::string& content) {
    std::vector<std::string> result;
    read_csv(write(content), [&](int64_t line, std::span<const std::string> fields) {
      std::string row = fmt::format("{}:", line);
      for (const std::string& field : fields) row += "[" + field + "]";
      result.push_back(row);
    });
    return result;
  }
  std::string message(const std::string& content) {
    try {
      csv(content);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(Csv, PlainFields) {
  EXPECT_THAT(csv("a,b c,\r\n,,x\n"), ElementsAre("1:[a][b c][]", "2:[][][x]"));
  EXPECT_THAT(csv("\xEF\xBB\xBF"
                  "a\n\n  \nb"),
              ElementsAre("1:[a]", "4:[b]"));
  EXPECT_THAT(csv("5\" disk,a\rb\n"), ElementsAre("1:[5\" disk][a\rb]"));
  EXPECT_THAT(csv(""), ElementsAre());
}

TEST_F(Csv, QuotedFields) {
  EXPECT_THAT(csv("\"a,b\",\"\",\"say \"\"x\"\"\"\r\nc"),
              ElementsAre("1:[a,b][][say \"x\"]", "2:[c]"));
  // Lines are counted inside of fields, too.
  EXPECT_THAT(csv("\"one\ntwo\r\nthree\",x\nlast,y\n"),
              ElementsAre("1:[one\ntwo\r\nthree][x]", "4:[last][y]"));
  EXPECT_THAT(csv("\"end\""), ElementsAre("1:[end]"));
}

TEST_F(Csv, DamagedFields) {
  EXPECT_THAT(message("a,b\n1,\"two\n3,4\n"), HasSubstr(":2: a quoted field begins here"));
  EXPECT_THAT(message("\"a\"b,c\n"), HasSubstr(":1: text after the closing quotation mark"));
  EXPECT_THAT(message(std::string("\xFF\xFE"
                                  "a,b")),
              HasSubstr("UTF-16"));
}

}  // namespace
}  // namespace quell

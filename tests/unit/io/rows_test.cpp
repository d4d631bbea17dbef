#include "framework/io/rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/io/parquet.h"
#include "framework/io/text.h"
#include "tests/support/paths.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

class Rows : public testing::Test {
 protected:
  Rows() { fs::create_directories(folder_); }
  ~Rows() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& content) const {
    fs::create_directories((folder_ / name).parent_path());
    write_file(folder_ / name, content);
    return folder_ / name;
  }
  // "place value" of every row, the place without the folder.
  std::vector<std::string> rows(const fs::path& file, const std::string& encoding = "") const {
    std::vector<std::string> result;
    read_rows(file, table_format(file), encoding, [&](const TableRow& row) {
      result.push_back(row.place.substr(file.parent_path().string().size() + 1) + " " +
                       row.value.dump());
    });
    return result;
  }
  template <class Exception = DataError>
  std::string message(const fs::path& file, const std::string& encoding = "") const {
    try {
      rows(file, encoding);
    } catch (const Exception& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_ = fs::temp_directory_path() / fmt::format("quell_rows_test_{}", ::getpid());
  fs::path data_ = source_folder() / "tests/data/parquet";
};

TEST_F(Rows, EveryFormatGivesTheSame) {
  EXPECT_THAT(rows(write("a.jsonl", "\n{\"x\": \"1\", \"y\": null}\r\n{\"x\": \"2\"}")),
              ElementsAre(R"(a.jsonl:2 {"x":"1","y":null})", R"(a.jsonl:3 {"x":"2"})"));
  EXPECT_THAT(rows(write("b.json", " [{\"x\": \"1\"}, {\"x\": \"2\"}]")),
              ElementsAre(R"(b.json: entry 0 {"x":"1"})", R"(b.json: entry 1 {"x":"2"})"));
  EXPECT_THAT(rows(write("c.csv", "x,y\n1,\n\"a\nb\",2\n")),
              ElementsAre(R"(c.csv:2 {"x":"1","y":null})", R"(c.csv:3 {"x":"a\nb","y":"2"})"));
}

TEST_F(Rows, ShardsFollowTheFirst) {
  const fs::path first = write("train-00000-of-00002.jsonl", "{\"x\": 0}\n");
  EXPECT_THAT(message(first), HasSubstr("train-00001-of-00002.jsonl is missing"));
  const fs::path second = write("train-00001-of-00002.jsonl", "{\"x\": 1}\n");
  EXPECT_THAT(rows(first), ElementsAre(R"(train-00000-of-00002.jsonl:1 {"x":0})",
                                       R"(train-00001-of-00002.jsonl:1 {"x":1})"));
  EXPECT_THAT(rows(second), ElementsAre(R"(train-00001-of-00002.jsonl:1 {"x":1})"));
  const fs::path numbered = write("train/0000.jsonl", "{\"x\": 0}\n");
  write("train/0001.jsonl", "{\"x\": 1}\n");
  EXPECT_EQ(rows(numbered).size(), 2u);
  write("train/0003.jsonl", "{\"x\": 3}\n");
  EXPECT_THAT(message(numbered), HasSubstr("0002.jsonl is missing"));
  EXPECT_THAT(shards_of("x-00000-of-1.csv"), ElementsAre("x-00000-of-1.csv"));
}

// The byte 0xE9 is no UTF-8 here; Python's codecs give "é" for it in Latin-1, and 0x93 is the
// quotation mark U+201C in windows-1252.
TEST_F(Rows, OtherEncodings) {
  const fs::path file = write("a.csv", "x\nok\nclich\xE9\n");
  EXPECT_THAT(message(file),
              AllOf(HasSubstr("a.csv:3:6: the byte 0xE9 is not UTF-8"), HasSubstr("iconv")));
  EXPECT_THAT(rows(file, "latin-1"),
              ElementsAre(R"(a.csv:2 {"x":"ok"})", "a.csv:3 {\"x\":\"cliché\"}"));
  EXPECT_THAT(rows(write("b.csv", "x\n\x93\n"), "windows-1252"),
              ElementsAre("b.csv:2 {\"x\":\"\u201C\"}"));
  EXPECT_THAT(rows(write("c.jsonl", "{\"x\": \"\xE9\"}\n"), "latin-1"),
              ElementsAre("c.jsonl:1 {\"x\":\"é\"}"));
  EXPECT_THAT(message(write("d.jsonl", "{}\n{\"x\": \"\xE9\"}\n")), HasSubstr("d.jsonl:2:8"));
  const std::string utf16("\xFF\xFEx\0\n\0\xE9\0\n\0", 10);
  EXPECT_THAT(rows(write("e.csv", utf16), "utf-16"), ElementsAre("e.csv:2 {\"x\":\"é\"}"));
  EXPECT_THAT(message(write("f.csv", utf16)), HasSubstr("UTF-16"));
  EXPECT_THAT(message(write("g.csv", "x\n\x81\x20\n"), "shift_jis"),
              AllOf(HasSubstr("g.csv:2:"), HasSubstr("not shift_jis")));
  EXPECT_TRUE(knows_encoding("UTF-8") && knows_encoding("latin1") && knows_encoding("cp1252"));
  EXPECT_FALSE(knows_encoding("latn1"));
  EXPECT_THAT(message<ConfigError>(file, "latn1"), HasSubstr("latn1"));
  // Longer than the buffers of the conversion.
  std::string many = "x\n";
  for (int i = 0; i < 5000; ++i) many += '\xE9';
  EXPECT_EQ(rows(write("h.csv", many), "latin-1")[0].size(),
            rows(write("i.csv", "x\na"))[0].size() + 9999);
}

TEST_F(Rows, ParquetOfTheHub) {
  if (!reads_parquet()) GTEST_SKIP() << "built without Arrow";
  EXPECT_THAT(
      rows(data_ / "sst2/train-00000-of-00002.parquet"),
      ElementsAre(
          "train-00000-of-00002.parquet: row 0 "
          "{\"idx\":0,\"label\":\"positive\",\"sentence\":\"café noir\"}",
          R"(train-00001-of-00002.parquet: row 0 {"idx":1,"label":"negative","sentence":"dull"})",
          R"(train-00001-of-00002.parquet: row 1 {"idx":2,"label":"positive","sentence":"fine"})"));
  EXPECT_THAT(rows(data_ / "sst2/test-00000-of-00001.parquet"),
              ElementsAre(EndsWith(R"({"idx":0,"label":-1,"sentence":"secret"})")));
  EXPECT_THAT(rows(data_ / "plain_text/validation-00000-of-00001.parquet"),
              ElementsAre(HasSubstr(R"("answers":{"answer_start":[17],"text":["Öland"]})"),
                          HasSubstr(R"("answers":{"answer_start":[],"text":[]})")));
}

TEST_F(Rows, ParquetKeepsKinds) {
  if (!reads_parquet()) GTEST_SKIP() << "built without Arrow";
  const auto found = rows(data_ / "kinds.parquet");
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0],
            R"(kinds.parquet: row 0 {"day":"1970-01-01","double":3.8,"flag":true,"float":3.8,)"
            R"("large":"a","list":[1,2],"nothing":null,"small":-1,"word":"x"})");
  EXPECT_THAT(found[1], AllOf(HasSubstr(R"("word":null)"), HasSubstr(R"("list":[])")));
  EXPECT_THAT(found[2], AllOf(HasSubstr(R"("float":null)"), HasSubstr(R"("flag":null)"),
                              HasSubstr(R"("list":null)"), HasSubstr(R"("large":null)")));
  EXPECT_THAT(found[3], AllOf(HasSubstr(R"("float":1e-07)"), HasSubstr("row 3")));
}

TEST_F(Rows, DamagedParquet) {
  EXPECT_THAT(message(write("lfs.parquet",
                            "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n")),
              HasSubstr("Git LFS"));
  if (!reads_parquet()) GTEST_SKIP() << "built without Arrow";
  EXPECT_THAT(message(write("short.parquet", "PAR1...")),
              HasSubstr("short.parquet: cannot be read as Parquet: "));
  // No byte of a file, wrong or missing, leads to anything but rows or an error.
  const std::string good = read_file(data_ / "sst2/validation-00000-of-00001.parquet");
  int refused = 0;
  for (size_t i = 0; i < good.size(); i += 7) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x55);
    refused += !message(write("bad.parquet", bad)).empty();
    refused += !message(write("cut.parquet", good.substr(0, i))).empty();
  }
  EXPECT_GE(refused, static_cast<int>(good.size() / 7));  // the cut ones at least
}

TEST_F(Rows, ErrorsOfTheReaderPassThrough) {
  if (!reads_parquet()) GTEST_SKIP() << "built without Arrow";
  const fs::path file = data_ / "kinds.parquet";
  const auto stop = [](const TableRow& row) { throw DataError("stopped at " + row.columns()[0]); };
  EXPECT_THROW(read_rows(file, TableFormat::kParquet, "", stop), DataError);
}

}  // namespace
}  // namespace quell

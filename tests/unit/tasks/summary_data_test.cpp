#include "tasks/data/summary_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "framework/io/parquet.h"
#include "support.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Summaries : public testing::Test {
 protected:
  SummaryData read(const std::string& name, const std::string& content,
                   const SummaryRequest& request = {}) {
    return read_summaries(folder_.write(name, content), request);
  }
  std::string error(const std::string& name, const std::string& content,
                    const SummaryRequest& request = {}) {
    return message_of<DataError>([&] { read(name, content, request); });
  }
  static SummaryRequest rows(const std::vector<std::string>& ranges) {
    return {"", "", true, true, RowRanges(ranges, "task.dev_rows")};
  }

  TemporaryFolder folder_;
};

TEST_F(Summaries, ColumnsOfTheDataSets) {
  const char* files[][2] = {
      {"xsum.jsonl", "{\"document\": \"D\", \"summary\": \"S\", \"id\": \"7\"}\n"},
      {"cnn.csv", ",id,article,highlights\n0,7,D,S\n"},
      {"generic.jsonl", "{\"text\": \"D\", \"summary\": \"S\", \"id\": 7}\n"},
      {"generic.csv", "id,text,y\n7,D,S\n"},
      {"list.json", "[{\"document\": \"D\", \"summary\": \"S\", \"id\": \"7\"}]"},
      {"no_ending", "id,text,y\n7,D,S\n"},
  };
  for (const auto& [name, content] : files) {
    const SummaryData data = read(name, content);
    ASSERT_EQ(data.examples.size(), 1u) << name;
    EXPECT_EQ(data.examples[0].article, "D");
    EXPECT_EQ(data.examples[0].summary, "S");
    EXPECT_EQ(data.examples[0].id, "7");
    EXPECT_EQ(data.examples[0].index, 0);
    EXPECT_THAT(data.notes, IsEmpty());
  }
}

TEST_F(Summaries, NamedColumns) {
  const SummaryRequest request{"body", "title"};
  const SummaryData data = read("x.csv", "title,body,text\nT,B,X\n", request);
  EXPECT_EQ(data.examples[0].article, "B");
  EXPECT_EQ(data.examples[0].summary, "T");
  EXPECT_THAT(error("y.csv", "title,text\nT,X\n", request),
              AllOf(HasSubstr("y.csv:1: no column \"body\" for the articles"),
                    HasSubstr("columns found: title, text"), HasSubstr("task.text_column")));
}

TEST_F(Summaries, QuotedLineEnds) {
  const SummaryData data =
      read("x.csv", "article,highlights\n\"one, \"\"two\"\"\nthree\",\"a\nb\"\nfour,c\n");
  ASSERT_EQ(data.examples.size(), 2u);
  EXPECT_EQ(data.examples[0].article, "one, \"two\"\nthree");
  EXPECT_EQ(data.examples[0].summary, "a\nb");
  EXPECT_EQ(data.examples[1].article, "four");
}

TEST_F(Summaries, OnlyWhatIsNeeded) {
  SummaryRequest no_summaries;
  no_summaries.needs_summaries = false;
  EXPECT_EQ(read("a.jsonl", "{\"text\": \"D\"}\n", no_summaries).examples[0].summary, "");
  SummaryRequest no_articles;
  no_articles.needs_articles = false;
  EXPECT_EQ(read("b.jsonl", "{\"summary\": \"S\"}\n", no_articles).examples[0].article, "");
}

// The script of Hugging Face keeps what is neither null nor "": blanks are a text
// (huggingface/transformers#14816, #18155).
TEST_F(Summaries, EmptyOnesAreLeftOut) {
  const SummaryData data = read("x.jsonl",
                                "{\"document\": \"D\", \"summary\": \"S\"}\n"
                                "{\"document\": \"\", \"summary\": \"S\"}\n"
                                "{\"document\": \"D\", \"summary\": null}\n"
                                "{\"document\": \" \\n\", \"summary\": \"S\"}\n"
                                "{\"document\": \"E\", \"summary\": \"\\u00a0\"}\n");
  ASSERT_EQ(data.examples.size(), 3u);
  EXPECT_EQ(data.examples[1].index, 3);
  EXPECT_EQ(data.examples[1].article, " \n");
  EXPECT_EQ(data.examples[2].index, 4);
  EXPECT_THAT(data.notes, ElementsAre(AllOf(HasSubstr("left out 2 rows"), HasSubstr("x.jsonl:2"))));
  EXPECT_THAT(error("y.csv", "text,y\n\"\",s\n"), HasSubstr("every article or summary is empty"));
  EXPECT_THAT(error("z.csv", "text,y\n"), HasSubstr("holds no examples"));
  EXPECT_THAT(error("w.jsonl", ""), HasSubstr("holds no examples"));
}

TEST_F(Summaries, RepeatedIds) {
  const SummaryData data = read("x.csv", "id,text,y\n1,a,b\n2,c,d\n1,e,f\n");
  EXPECT_EQ(data.examples.size(), 3u);
  EXPECT_THAT(data.notes, ElementsAre(AllOf(HasSubstr("1 ids appear more than once"),
                                            HasSubstr("x.csv:2 and"), HasSubstr("x.csv:4"))));
}

TEST_F(Summaries, Rows) {
  const std::string content = "text,y\na0,s\na1,s\na2,s\na3,s\na4,s\n";
  const SummaryData data = read("x.csv", content, rows({"1-2", "4"}));
  ASSERT_EQ(data.examples.size(), 3u);
  EXPECT_EQ(data.examples[0].article, "a1");
  EXPECT_EQ(data.examples[2].index, 4);
  EXPECT_THAT(message_of<ConfigError>([&] { read("x.csv", content, rows({"3-5"})); }),
              AllOf(HasSubstr("task.dev_rows: 3-5"), HasSubstr("has 5 rows")));
  for (const char* range : {"5-3", "a", "1-", "-1", "1-2-3", ""}) {
    EXPECT_THAT(message_of<ConfigError>([&] { rows({range}); }), HasSubstr("no range of rows"));
  }
}

TEST_F(Summaries, DamagedFiles) {
  EXPECT_THAT(error("a.jsonl", "{\"document\": \"D\", \"summary\": \"S\"}\n{\"document\": \"D\", "),
              AllOf(HasSubstr("a.jsonl:2:"), HasSubstr("not valid JSON")));
  EXPECT_THAT(error("b.csv", "text,y\na,b\n\"c,d\n"),
              HasSubstr("b.csv:3: a quoted field begins here and never ends"));
  EXPECT_THAT(error("c.csv", "text,y\na,b,c\n"),
              HasSubstr("c.csv:2: 3 fields, but the header has 2"));
  EXPECT_THAT(error("d.jsonl", "{\"document\": 5, \"summary\": \"S\"}\n"),
              HasSubstr("d.jsonl:1: \"document\" must be a text, found number"));
  EXPECT_THAT(error("e.jsonl", "{\"document\": \"D\", \"abstract\": \"S\"}\n"),
              AllOf(HasSubstr("no column \"summary\" or \"highlights\" or \"y\" for the summaries"),
                    HasSubstr("columns found: abstract, document")));
  EXPECT_THAT(error("f.jsonl", "[1, 2]"), HasSubstr("f.jsonl: entry 0: expected a JSON object"));
  EXPECT_THAT(message_of<DataError>([&] { read_summaries(folder_.path() / "none.csv", {}); }),
              HasSubstr("none.csv"));
}

TEST_F(Summaries, DamagedParquet) {
  const std::string expected =
      reads_parquet() ? "cannot be read as Parquet" : "pandas.read_parquet";
  EXPECT_THAT(error("a.parquet", "PAR1..."), AllOf(HasSubstr("a.parquet"), HasSubstr(expected)));
  EXPECT_THAT(error("b.csv", "PAR1..."), HasSubstr(expected));
}

TEST_F(Summaries, PublishedFiles) {
  const auto folder = shared_folder() / "data/summarization";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  EXPECT_EQ(read_summaries(folder / "xsum/test-1000.jsonl", {}).examples.size(), 1000u);
  EXPECT_EQ(read_summaries(folder / "cnndm/train-sample-100.csv", {}).examples.size(), 100u);
  EXPECT_EQ(read_summaries(folder / "cnndm/train-subset-desixmimi.csv", {}).examples.size(), 200u);
}

}  // namespace
}  // namespace quell

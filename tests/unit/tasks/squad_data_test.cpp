#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "framework/io/parquet.h"
#include "support.h"
#include "tasks/data/data_files.h"
#include "tasks/data/squad_data.h"
#include "tests/support/paths.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Two articles, the second version.
constexpr const char* kOfficial = R"({"version": "v2.0", "data": [
  {"title": "One", "paragraphs": [{"context": "caf\u00e9 and bar", "qas": [
    {"id": "a", "question": "Where?", "answers": [{"text": "bar", "answer_start": 9}],
     "is_impossible": false},
    {"id": "b", "question": "When?", "answers": [], "is_impossible": true,
     "plausible_answers": [{"text": "bar", "answer_start": 9}]}]}]},
  {"title": "Two", "paragraphs": [{"context": "", "qas": [
    {"id": "c", "question": "Why?", "answers": [{"text": "so", "answer_start": 0}]}]}]}]})";

class SquadFiles : public testing::Test {
 protected:
  SquadData read(const std::string& content, const std::string& name = "dev.json") const {
    return read_squad(folder_.write(name, content));
  }
  std::string refusal(const std::string& content, const std::string& name = "dev.json") const {
    return message_of<DataError>([&] { read(content, name); });
  }
  static std::string one_question(const std::string& question) {
    return R"({"data": [{"paragraphs": [{"context": "x y", "qas": [)" + question + "]}]}]}";
  }

  TemporaryFolder folder_;
};

TEST_F(SquadFiles, OfficialLayout) {
  const SquadData data = read(kOfficial);
  ASSERT_EQ(data.examples.size(), 3u);
  EXPECT_EQ(data.articles, 2);
  EXPECT_EQ(data.examples[0].id, "a");
  EXPECT_EQ(data.examples[0].context, "caf\u00e9 and bar");
  ASSERT_EQ(data.examples[0].answers.size(), 1u);
  EXPECT_EQ(data.examples[0].answers[0].start, 9);  // code points, not bytes
  EXPECT_FALSE(data.examples[0].misplaced);
  EXPECT_THAT(data.examples[1].answers, IsEmpty());
  EXPECT_EQ(data.examples[2].index, 2);
  EXPECT_EQ(data.examples[2].article, 1);
}

// Files of COVID-QA count their questions; the data sets of Hugging Face make texts of such ids.
TEST_F(SquadFiles, IdsMayBeNumbers) {
  const SquadData data = read(one_question(R"({"id": 262, "question": "?", "answers": []})"));
  EXPECT_EQ(data.examples[0].id, "262");
  EXPECT_THAT(refusal(one_question(R"({"id": 2.5, "question": "?", "answers": []})")),
              HasSubstr("\"id\": expected a text, found number"));
}

// evaluate-v2.0.py asks bool(qa["answers"]) alone.
TEST_F(SquadFiles, TheMarkDecidesNothing) {
  const auto answers = [&](const std::string& rest) {
    return read(one_question(R"({"id": "a", "question": "?", )" + rest + "}"))
        .examples[0]
        .answers.size();
  };
  EXPECT_EQ(answers(R"("is_impossible": true, "answers": [{"text": "y", "answer_start": 2}])"), 1u);
  EXPECT_EQ(answers(R"("is_impossible": false, "answers": [])"), 0u);
  EXPECT_EQ(answers(R"("is_impossible": true)"), 0u);
  EXPECT_THAT(refusal(one_question(R"({"id": "a", "question": "?", "is_impossible": false})")),
              HasSubstr("\"answers\" is missing"));
}

TEST_F(SquadFiles, ParquetOfTheHub) {
  if (!reads_parquet()) GTEST_SKIP() << "built without Arrow";
  const auto hub = source_folder() / "tests/data/parquet";
  const SquadData data = read_squad(find_data_file(hub, "", "dev", squad_file_names("dev", false)));
  ASSERT_EQ(data.examples.size(), 2u);
  EXPECT_EQ(data.examples[0].id, "a");
  EXPECT_EQ(data.examples[0].answers[0].text, "\u00d6land");
  EXPECT_FALSE(data.examples[0].misplaced);
  EXPECT_THAT(data.examples[1].answers, IsEmpty());
  EXPECT_EQ(data.articles, 1);
}

TEST_F(SquadFiles, RowsOfHuggingFace) {
  const std::string rows[] = {
      R"({"id": "a", "title": "T", "context": "x y", "question": "?",
          "answers": {"text": ["y"], "answer_start": [2]}})",
      R"({"id": "b", "title": "U", "context": "x", "question": "?", "answers": [
          {"text": "x", "answer_start": 0}]})",
      R"({"id": "c", "title": "U", "context": "x", "question": "?",
          "answers": {"text": [], "answer_start": []}})"};
  std::string lines;
  for (std::string row : rows) {
    std::erase(row, '\n');
    lines += row + "\n";
  }
  const std::string list = rows[0] + "," + rows[1] + "," + rows[2];
  for (const SquadData& data : {read(lines, "dev.jsonl"), read("{\"data\": [" + list + "]}"),
                                read("{\"examples\": [" + list + "]}")}) {
    ASSERT_EQ(data.examples.size(), 3u);
    EXPECT_EQ(data.articles, 2);
    EXPECT_EQ(data.examples[0].answers[0].text, "y");
    EXPECT_EQ(data.examples[1].article, 1);
    EXPECT_THAT(data.examples[2].answers, IsEmpty());
  }
}

TEST_F(SquadFiles, ErrorsNameThePlace) {
  EXPECT_THAT(refusal(std::string(kOfficial).substr(0, 200)),
              HasSubstr("dev.json:4:8: not valid JSON"));
  EXPECT_THAT(
      refusal(one_question(R"({"question": "?", "answers": []})")),
      AllOf(HasSubstr("dev.json: data[0].paragraphs[0].qas[0]"), HasSubstr("\"id\" is missing")));
  EXPECT_THAT(refusal(one_question(R"({"id": "q7", "question": "?"})")),
              AllOf(HasSubstr("qas[0] (id q7)"), HasSubstr("\"answers\" is missing")));
  EXPECT_THAT(refusal(one_question(R"({"id": "q7", "question": 3, "answers": []})")),
              HasSubstr("\"question\": expected a text, found number"));
  EXPECT_THAT(refusal(one_question(R"({"id": "q7", "question": "?",
                                       "answers": [{"text": "y", "answer_start": -2}]})")),
              HasSubstr("answer_start -2"));
  EXPECT_THAT(refusal(R"({"data": [{"paragraphs": [{"qas": []}]}]})"),
              AllOf(HasSubstr("paragraphs[0]"), HasSubstr("\"context\" is missing")));
  EXPECT_THAT(refusal(R"({"datum": []})"), HasSubstr("\"data\" is missing"));
  EXPECT_THAT(refusal("[1, 2]"), HasSubstr("expected an object"));
  EXPECT_THAT(refusal(R"({"data": []})"), HasSubstr("holds no questions"));
  EXPECT_THAT(refusal("{\"id\": \"a\"}\n", "dev.jsonl"),
              AllOf(HasSubstr("dev.jsonl:1: "), HasSubstr("\"context\" is missing")));
}

TEST_F(SquadFiles, AnIdOccursOnce) {
  const std::string question = R"({"id": "q7", "question": "?", "answers": []})";
  EXPECT_THAT(refusal(one_question(question + "," + question)),
              AllOf(HasSubstr("qas[1]"), HasSubstr("\"q7\""), HasSubstr("qas[0]")));
}

TEST_F(SquadFiles, ArticlesCanBeChosen) {
  SquadData data = read(kOfficial);
  keep_articles(data, {"1"}, "task.dev_articles");
  ASSERT_EQ(data.examples.size(), 1u);
  EXPECT_EQ(data.examples[0].id, "c");
  EXPECT_EQ(data.examples[0].index, 2);
  data = read(kOfficial);
  keep_articles(data, {"0-1"}, "task.dev_articles");
  EXPECT_EQ(data.examples.size(), 3u);
  for (const char* bad : {"", "x", "1-", "1-0", "-1"}) {
    EXPECT_THAT(message_of<ConfigError>([&] { keep_articles(data, {bad}, "task.dev_articles"); }),
                AllOf(HasSubstr("task.dev_articles"), HasSubstr("no range")));
  }
  EXPECT_THAT(message_of<ConfigError>([&] { keep_articles(data, {"0-2"}, "k"); }),
              HasSubstr("has the articles 0-1"));
}

TEST_F(SquadFiles, EmptyContextsAreNoted) {
  const SquadData data = read(kOfficial);
  EXPECT_THAT(
      squad_notes(data, true),
      ElementsAre(AllOf(HasSubstr("1 questions have an empty context"), HasSubstr("id c"))));
  EXPECT_EQ(squad_notes(data, false).size(), 2u);
}

TEST_F(SquadFiles, MisplacedAnswersAreNotTrainedOn) {
  SquadData data = read(kOfficial);
  EXPECT_THAT(drop_misplaced(data), AllOf(HasSubstr("left 1 questions out"), HasSubstr("id c")));
  EXPECT_EQ(data.examples.size(), 2u);
  EXPECT_EQ(drop_misplaced(data), "");
  data = read(one_question(
      R"({"id": "q7", "question": "?", "answers": [{"text": "y", "answer_start": 1}]})"));
  EXPECT_THAT(message_of<DataError>([&] { drop_misplaced(data); }), HasSubstr("code points"));
  data = read(one_question(
      R"({"id": "q7", "question": "?", "answers": [{"text": "y", "answer_start": 900}]})"));
  EXPECT_TRUE(data.examples[0].misplaced);
}

TEST_F(SquadFiles, AreFoundByTheirOfficialNames) {
  folder_.write("dev-v2.0.json", "");
  folder_.write("dev.json", "");
  const auto find = [&](const std::string& given, bool version_2) {
    return find_data_file(folder_.path(), given, "dev", squad_file_names("dev", version_2))
        .filename()
        .string();
  };
  EXPECT_EQ(find("", true), "dev-v2.0.json");
  EXPECT_EQ(find("", false), "dev.json");
  EXPECT_EQ(find("dev-v2.0.json", false), "dev-v2.0.json");
  EXPECT_THAT(message_of<DataError>([&] { find("none.json", false); }),
              HasSubstr("task.dev_file: no file \"none.json\""));
  EXPECT_THAT(message_of<DataError>([&] {
                find_data_file(folder_.path(), "", "train", squad_file_names("train", false));
              }),
              AllOf(HasSubstr("train-v1.1.json, train-v1.1.jsonl, train-v1.1.parquet, train.json, "
                              "train.jsonl, train.parquet"),
                    HasSubstr("split: dev")));
  EXPECT_THAT(message_of<ConfigError>(
                  [&] { find_data_file("", "", "dev", squad_file_names("dev", false)); }),
              HasSubstr("task.path"));
}

}  // namespace
}  // namespace quell

#include "tasks/data/glue_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "framework/io/parquet.h"
#include "support.h"
#include "tasks/data/glue_files.h"
#include "tasks/data/glue_labels.h"
#include "tests/support/paths.h"

namespace quell {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class GlueFiles : public testing::Test {
 protected:
  GlueData read(const std::string& task, const std::string& name, const std::string& content,
                bool needs_labels = true) {
    return read_glue(glue_spec(task), folder_.write(name, content), needs_labels);
  }
  std::string refusal(const std::string& task, const std::string& name,
                      const std::string& content) {
    return message_of<DataError>([&] { read(task, name, content); });
  }
  // "text|pair|label" of an example.
  static std::string show(const GlueExample& example) {
    const std::string label =
        example.label ? testing::PrintToString(*example.label) : std::string("none");
    return example.text + "|" + example.pair.value_or("-") + "|" + label;
  }

  TemporaryFolder folder_;
};

TEST_F(GlueFiles, ColaHasNoHeader) {
  const GlueData data = read("cola", "dev.tsv",
                             "gj04\t1\t\tThe \"sailors\" rode.\n"
                             "gj04\t0\t*\tUngrammatical is this\n");
  ASSERT_EQ(data.examples.size(), 2u);
  EXPECT_EQ(show(data.examples[0]), "The \"sailors\" rode.|-|1");
  EXPECT_EQ(show(data.examples[1]), "Ungrammatical is this|-|0");
  EXPECT_EQ(data.examples[1].index, 1);
}

TEST_F(GlueFiles, EveryOfficialHeaderIsKnown) {
  struct Case {
    std::string task, content, shown;
  };
  const std::vector<Case> cases = {
      {"sst2", "sentence\tlabel\ngood \t1\n", "good |-|1"},
      {"mrpc", "\xEF\xBB\xBFQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\t\"a\tb\"\r\n",
       "\"a|b\"|1"},
      {"stsb",
       "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
       "0\tg\tf\ty\to\ts\tt\tx\ty\t3.750\n",
       "x|y|3.75"},
      {"qqp", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n9\t1\t2\tq\tr\t0\n", "q|r|0"},
      {"qqp", "9\t1\t2\tq\tr\t1\n", "q|r|1"},
      {"mnli", "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tp\th\tneutral\tcontradiction\n",
       "p|h|2"},
      {"qnli", "index\tquestion\tsentence\tlabel\n0\tq\ts\tnot_entailment\n", "q|s|1"},
      {"rte", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n", "a|b|0"},
      {"wnli", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n", "a|b|1"},
  };
  for (const Case& item : cases) {
    const GlueData data = read(item.task, "dev.tsv", item.content);
    ASSERT_EQ(data.examples.size(), 1u) << item.task;
    EXPECT_EQ(show(data.examples[0]), item.shown) << item.task;
  }
}

TEST_F(GlueFiles, JsonLinesWithHuggingFaceColumns) {
  const std::vector<std::vector<std::string>> cases = {
      {"cola", R"({"sentence": "s", "label": 1, "idx": 0})", "s|-|1"},
      {"cola", R"({"sentence": "s", "label": true})", "s|-|1"},
      {"sst2", R"({"sentence": "s", "label": "Negative"})", "s|-|0"},
      {"mrpc", R"({"sentence1": "a", "sentence2": "b", "label": "equivalent"})", "a|b|1"},
      {"stsb", R"({"sentence1": "a", "sentence2": "b", "label": 4.5})", "a|b|4.5"},
      {"qqp", R"({"question1": "a", "question2": "b", "label": 0})", "a|b|0"},
      {"mnli", R"({"premise": "a", "hypothesis": "b", "label": "contradiction"})", "a|b|2"},
      {"qnli", R"({"question": "a", "sentence": "b", "label": 1})", "a|b|1"},
      {"rte", R"({"sentence1": "a", "sentence2": "b", "label": 0})", "a|b|0"},
      {"wnli", R"({"sentence1": "a", "sentence2": "b", "label": 1})", "a|b|1"},
  };
  for (const auto& item : cases) {
    const GlueData data = read(item[0], "dev.jsonl", item[1] + "\n");
    ASSERT_EQ(data.examples.size(), 1u);
    EXPECT_EQ(show(data.examples[0]), item[2]);
  }
}

TEST_F(GlueFiles, UnlabelledJsonLines) {
  const GlueData data = read("sst2", "x.jsonl",
                             "{\"sentence\": \"a\", \"label\": -1}\n\n{\"sentence\": \"b\"}\n"
                             "{\"sentence\": \"c\", \"label\": null}\n"
                             "{\"sentence\": \"d\", \"label\": 1}\n");
  EXPECT_EQ(data.examples.size(), 4u);
  EXPECT_EQ(data.labelled, 1);
  EXPECT_EQ(data.examples[3].index, 3);
}

// SNLI and MultiNLI write "-" where the annotators did not agree, MultiNLI "hidden" in its test
// files, and the Hub -1 (huggingface/datasets#1963, #2364).
TEST_F(GlueFiles, NoGoldLabel) {
  const std::string rest = R"(", "sentence1": "a", "sentence2": "b"})";
  const GlueData data =
      read("mnli", "dev.jsonl",
           R"({"gold_label": "entailment)" + rest + "\n" + R"({"gold_label": "-)" + rest + "\n" +
               R"({"gold_label": "hidden)" + rest + "\n" + R"({"gold_label": "-1)" + rest + "\n");
  EXPECT_EQ(data.labelled, 1);
  EXPECT_EQ(show(data.examples[1]), "a|b|none");
  const GlueData tsv =
      read("mnli", "dev.tsv", "gold_label\tsentence1\tsentence2\n-\ta\tb\nneutral\tc\td\n");
  EXPECT_EQ(show(tsv.examples[0]), "a|b|none");
  EXPECT_EQ(show(tsv.examples[1]), "c|d|1");
  EXPECT_EQ(read("stsb", "x.tsv", "sentence1\tsentence2\tscore\na\tb\t-1.0\nc\td\t2\n").labelled,
            1);
  EXPECT_THAT(refusal("sst2", "dev.tsv", "sentence\tlabel\na\t-2\n"), HasSubstr("label \"-2\""));
}

// facebookresearch/XNLI#11; the training files call the second sentence "hypo".
TEST_F(GlueFiles, NamesOfXnli) {
  EXPECT_EQ(show(read("mnli", "dev.jsonl",
                      R"({"gold_label": "contradictory", "sentence1": "a", "sentence2": "b"})")
                     .examples[0]),
            "a|b|2");
  EXPECT_EQ(
      show(read("mnli", "train.tsv", "premise\thypo\tlabel\na\tb\tcontradictory\n").examples[0]),
      "a|b|2");
}

TEST_F(GlueFiles, Csv) {
  const GlueData data =
      read("sst2", "dev.csv", "idx,sentence,label\n0,\"good, \"\"really\"\"\",1\n1,bad,\n");
  EXPECT_EQ(show(data.examples[0]), "good, \"really\"|-|1");
  EXPECT_EQ(show(data.examples[1]), "bad|-|none");
  EXPECT_THAT(refusal("sst2", "dev.csv", "idx,text,label\n0,a,1\n"),
              HasSubstr("dev.csv:1: no key \"sentence\"; keys found: idx, text, label"));
  EXPECT_THAT(refusal("sst2", "dev.csv", "sentence,label\n,1\n"),
              HasSubstr("dev.csv:2: \"sentence\" is null, expected text"));
}

TEST_F(GlueFiles, OtherEncodingsThanUtf8) {
  const std::string content = "sentence\tlabel\nfine\t1\nclich\xE9\t0\n";
  EXPECT_THAT(refusal("sst2", "dev.tsv", content),
              HasSubstr("dev.tsv:3:6: the byte 0xE9 is not UTF-8"));
  const GlueData data =
      read_glue(glue_spec("sst2"), folder_.write("dev.tsv", content), true, "latin-1");
  EXPECT_EQ(data.examples[1].text, "cliché");
}

TEST_F(GlueFiles, ParquetOfTheHub) {
  if (!reads_parquet()) GTEST_SKIP() << "built without Arrow";
  const auto hub = source_folder() / "tests/data/parquet";
  const GlueSpec& sst2 = glue_spec("sst2");
  const auto sets = find_dev_files(sst2, {.folder = hub});
  ASSERT_EQ(sets.size(), 1u);
  const GlueData dev = read_glue(sst2, sets[0].file, true);
  EXPECT_EQ(show(dev.examples[0]), "good|-|1");
  EXPECT_EQ(show(dev.examples[1]), "bad|-|0");
  const GlueData train = read_glue(sst2, find_train_file(sst2, {.folder = hub}), true);
  ASSERT_EQ(train.examples.size(), 3u);  // of both shards
  EXPECT_EQ(train.examples[2].index, 2);
  EXPECT_EQ(show(train.examples[2]), "fine|-|1");
  EXPECT_EQ(read_glue(sst2, hub / "sst2/test-00000-of-00001.parquet", false).labelled, 0);
}

TEST_F(GlueFiles, FoldersOfTheHub) {
  const auto found = [&](const std::string& task) {
    return find_dev_files(glue_spec(task), {.folder = folder_.path()})[0].file.lexically_relative(
        folder_.path());
  };
  const auto add = [&](const std::string& name) {
    std::filesystem::create_directories((folder_.path() / name).parent_path());
    folder_.write(name, "");
  };
  add("sst2/validation-00000-of-00001.parquet");
  EXPECT_EQ(found("sst2"), "sst2/validation-00000-of-00001.parquet");
  // Another task's folder is not taken for this one's.
  EXPECT_THAT(message_of<DataError>([&] { found("cola"); }), HasSubstr("no dev file for cola"));
  add("CoLA/dev.tsv");
  EXPECT_EQ(found("cola"), "CoLA/dev.tsv");
  add("mnli/validation_matched/0000.parquet");
  EXPECT_EQ(found("mnli"), "mnli/validation_matched/0000.parquet");
  add("data/validation-00000-of-00002.parquet");
  EXPECT_EQ(found("cola"), "data/validation-00000-of-00002.parquet");
  add("data/validation-00000-of-00003.parquet");
  EXPECT_THAT(message_of<DataError>([&] { found("cola"); }),
              HasSubstr("shards of different tables"));
  add("dev.tsv");
  EXPECT_EQ(found("sst2"), "dev.tsv");
}

TEST_F(GlueFiles, CalibrationNeedsNoLabels) {
  EXPECT_EQ(read("cola", "test.tsv", "index\tsentence\n0\tBill left.\n", false).examples.size(),
            1u);
}

TEST_F(GlueFiles, MissingColumns) {
  const std::string message = refusal("mnli", "dev.tsv", "index\tsentence1\tgold_label\n0\ta\tb\n");
  EXPECT_THAT(message, HasSubstr("dev.tsv:1: no column \"sentence2\" or \"hypothesis\"; columns "
                                 "found: index, sentence1, gold_label; expected for mnli: "));
  EXPECT_THAT(refusal("sst2", "dev.tsv", "sentence\tscore\na\t1\n"),
              HasSubstr("no column \"label\"; columns found: sentence, score"));
  EXPECT_THAT(refusal("sst2", "dev.tsv", "it is good\t1\n"), HasSubstr("no column \"sentence\""));
  EXPECT_THAT(refusal("sst2", "dev.jsonl", "{\"text\": \"a\", \"label\": 1}\n"),
              HasSubstr("dev.jsonl:1: no key \"sentence\"; keys found: label, text"));
}

TEST_F(GlueFiles, WrongNumberOfFields) {
  EXPECT_THAT(refusal("sst2", "dev.tsv", "sentence\tlabel\na\t1\nb\n"),
              HasSubstr("dev.tsv:3: 1 fields, expected 2 (sentence, label)"));
  EXPECT_THAT(refusal("cola", "dev.tsv", "a\tb\n"),
              HasSubstr("dev.tsv:1: 2 fields, expected 4 (source, label, mark, sentence)"));
}

TEST_F(GlueFiles, QqpLeavesOutFewMalformedRows) {
  const GlueData data = read("qqp", "dev.tsv", "1\t2\t3\tq r 0\n1\t2\t3\tq\tr\t1\n");
  ASSERT_EQ(data.examples.size(), 1u);
  EXPECT_EQ(data.examples[0].index, 1);
  EXPECT_EQ(data.malformed_rows, 1);
  EXPECT_EQ(data.first_malformed_line, 1);
  EXPECT_THAT(refusal("qqp", "dev.tsv", "a\tb\nc\td\n1\t2\t3\tq\tr\t1\n"),
              HasSubstr("2 of 3 rows do not have 6 fields"));
}

TEST_F(GlueFiles, UnknownLabels) {
  EXPECT_THAT(refusal("sst2", "dev.tsv", "sentence\tlabel\na\t2\n"),
              HasSubstr("dev.tsv:2: unknown label \"2\"; expected for sst2: negative (0), "
                        "positive (1)"));
  EXPECT_THAT(refusal("rte", "dev.jsonl",
                      "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": \"maybe\"}\n"),
              HasSubstr("dev.jsonl:1: unknown label \"maybe\""));
  EXPECT_THAT(refusal("stsb", "dev.jsonl",
                      "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": 5.5}\n"),
              HasSubstr("unknown label \"5.5\"; expected for stsb: a number from 0 to 5"));
  EXPECT_THAT(refusal("sst2", "dev.tsv", "sentence\tlabel\na\t0.5\n"), HasSubstr("\"0.5\""));
  EXPECT_THAT(refusal("sst2", "dev.tsv", "sentence\tlabel\na\t\n"), HasSubstr("label \"\""));
}

TEST_F(GlueFiles, EmptyOrBrokenFiles) {
  EXPECT_THAT(refusal("sst2", "dev.tsv", "sentence\tlabel\n"), HasSubstr("holds no examples"));
  EXPECT_THAT(refusal("sst2", "dev.tsv", ""), HasSubstr("holds no examples"));
  EXPECT_THAT(refusal("sst2", "dev.jsonl", "{\"sentence\": \"a\"}\n"),
              HasSubstr("no example has a label (\"label\")"));
  EXPECT_THAT(refusal("sst2", "dev.jsonl", "{\"sentence\": 3, \"label\": 1}\n"),
              HasSubstr("dev.jsonl:1: \"sentence\" is number, expected text"));
  EXPECT_THAT(refusal("sst2", "dev.jsonl", "[1]\n"), HasSubstr("dev.jsonl:1"));
  EXPECT_THAT(refusal("sst2", "dev.jsonl", "{\"sentence\": \n"), HasSubstr("dev.jsonl:1"));
}

TEST(GlueSpecs, UnknownTask) {
  EXPECT_THAT(message_of<ConfigError>([] { glue_spec("sst"); }),
              HasSubstr("did you mean \"sst2\""));
}

TEST(GlueLabels, FollowTheModel) {
  const GlueSpec& mnli = glue_spec("mnli");
  const json swapped = {
      {"id2label", {{"0", "CONTRADICTION"}, {"1", "Neutral"}, {"2", "entailment"}}}};
  EXPECT_THAT(label_order(mnli, swapped), ElementsAre(2, 1, 0));
  EXPECT_EQ(model_class(label_order(mnli, swapped), 0), 2);
  const json by_name = {{"label2id", {{"neutral", 0}, {"entailment", 1}, {"contradiction", 2}}}};
  EXPECT_THAT(label_order(mnli, by_name), ElementsAre(1, 0, 2));
  const json plain = {{"id2label", {{"0", "LABEL_0"}, {"1", "LABEL_1"}, {"2", "LABEL_2"}}}};
  EXPECT_THAT(label_order(mnli, plain), ElementsAre(0, 1, 2));
  const json hyphen = {{"id2label", {{"0", "not-entailment"}, {"1", "Entailment"}}}};
  EXPECT_THAT(label_order(glue_spec("rte"), hyphen), ElementsAre(1, 0));
  EXPECT_THAT(label_order(glue_spec("sst2"), json::object()), ElementsAre(0, 1));
  EXPECT_THAT(label_order(glue_spec("stsb"), json{{"id2label", {{"0", "anything"}}}}),
              ElementsAre(0));
}

TEST(GlueLabels, OfAnotherTaskAreRefused) {
  const json sentiment = {{"id2label", {{"0", "negative"}, {"1", "positive"}}}};
  const auto refusal = [](const std::string& task, const json& config) {
    return message_of<DataError>([&] { label_order(glue_spec(task), config); });
  };
  EXPECT_THAT(refusal("cola", sentiment),
              HasSubstr("id2label: labels negative, positive do not match the labels of cola: "
                        "unacceptable, acceptable"));
  EXPECT_THAT(refusal("mnli", sentiment),
              HasSubstr("2 labels (negative, positive), but mnli has 3 (entailment, neutral, "
                        "contradiction)"));
  EXPECT_THAT(refusal("stsb", sentiment), HasSubstr("but stsb has 1 (a single output"));
  EXPECT_THAT(refusal("mnli", json::object()), HasSubstr("num_labels: 2 labels"));
  EXPECT_THAT(refusal("sst2", json{{"id2label", {{"0", "positive"}, {"1", "positive"}}}}),
              HasSubstr("do not match"));
  EXPECT_THAT(refusal("sst2", json{{"id2label", {{"0", "negative"}, {"5", "positive"}}}}),
              HasSubstr("id2label must give the classes 0, 1, 2"));
  EXPECT_THAT(refusal("sst2", json{{"id2label", {{"0", 3}}}}), HasSubstr("must give the classes"));
}

// As training on a table with numbers for labels leaves them.
TEST(GlueLabels, NumbersForNames) {
  const auto order = [](const json& names) {
    return label_order(glue_spec("sst2"), json{{"id2label", names}});
  };
  EXPECT_EQ(order({{"0", 0}, {"1", 1}}), glue_order(glue_spec("sst2")));
  EXPECT_EQ(order({{"0", 0.0}, {"1", 1.0}}), glue_order(glue_spec("sst2")));
  EXPECT_EQ(order({{"0", false}, {"1", true}}), glue_order(glue_spec("sst2")));
  for (const json& bad : {json(2), json(0.5), json(-1), json(nullptr)}) {
    EXPECT_THAT(message_of<DataError>([&] {
                  order({{"0", 0}, {"1", bad}});
                }),
                HasSubstr("id2label must give the classes 0, 1, 2"));
  }
}

TEST_F(GlueFiles, SplitsAreFoundByName) {
  folder_.write("validation_matched.jsonl", "");
  folder_.write("dev_mismatched.tsv", "");
  const auto sets = find_dev_files(glue_spec("mnli"), {.folder = folder_.path()});
  ASSERT_EQ(sets.size(), 2u);
  EXPECT_EQ(sets[0].name, "dev_matched");
  EXPECT_EQ(sets[0].file.filename(), "validation_matched.jsonl");
  EXPECT_EQ(sets[1].name, "dev_mismatched");
  EXPECT_THAT(
      message_of<DataError>([&] { find_dev_files(glue_spec("rte"), {.folder = folder_.path()}); }),
      HasSubstr("no dev file for rte: looked for dev.tsv, dev.jsonl"));
  const std::string no_train = message_of<DataError>(
      [&] { find_train_file(glue_spec("mnli"), {.folder = folder_.path()}); });
  EXPECT_THAT(no_train, HasSubstr("calibration: {split: dev}"));
  EXPECT_THAT(no_train, HasSubstr("calibration: {file: ...}"));
}

TEST_F(GlueFiles, GivenFilesComeFirst) {
  folder_.write("dev.tsv", "");
  folder_.write("dev_subset.tsv", "");
  const auto sets =
      find_dev_files(glue_spec("qqp"), {.folder = folder_.path(), .dev_file = "dev_subset.tsv"});
  ASSERT_EQ(sets.size(), 1u);
  EXPECT_EQ(sets[0].file, folder_.path() / "dev_subset.tsv");
  const std::string elsewhere = (folder_.path() / "dev.tsv").string();
  EXPECT_EQ(find_dev_files(glue_spec("qqp"), {.dev_file = elsewhere})[0].file, elsewhere);
  EXPECT_THAT(message_of<DataError>([&] {
                find_dev_files(glue_spec("qqp"), {.folder = folder_.path(), .dev_file = "no.tsv"});
              }),
              HasSubstr("task.dev_file: no file \"no.tsv\""));
}

// Row and label counts of shared/data/SOURCES.md.
TEST(GlueRealFiles, HaveTheKnownCounts) {
  const auto data = shared_folder() / "data";
  if (!std::filesystem::exists(data)) GTEST_SKIP() << "needs " << data;
  struct Case {
    std::string task, file;
    size_t rows;
    int64_t first_class;  // labels 0
  };
  const std::vector<Case> cases = {
      {"cola", "glue/CoLA/train.tsv", 8551, -1},     {"cola", "glue/CoLA/dev.tsv", 1043, 322},
      {"sst2", "glue/SST-2/train.tsv", 67349, -1},   {"sst2", "glue/SST-2/dev.tsv", 872, 428},
      {"mrpc", "glue/MRPC/train.tsv", 3667, -1},     {"mrpc", "glue/MRPC/dev.tsv", 408, 129},
      {"stsb", "glue/STS-B/train.tsv", 5749, -1},    {"rte", "glue/RTE/train.tsv", 2490, -1},
      {"wnli", "glue/WNLI/train.tsv", 635, -1},      {"wnli", "glue/WNLI/dev.tsv", 71, -1},
      {"qnli", "glue/QNLI/dev.tsv", 5463, 2702},     {"mnli", "nli/mnli/dev.jsonl", 9815, 3479},
      {"qqp", "glue/QQP/dev_subset.tsv", 23496, -1},
  };
  for (const Case& item : cases) {
    const GlueData read = read_glue(glue_spec(item.task), data / item.file, true);
    EXPECT_EQ(read.examples.size(), item.rows) << item.file;
    EXPECT_EQ(read.labelled, static_cast<int64_t>(item.rows)) << item.file;
    EXPECT_EQ(read.malformed_rows, item.task == "qqp" ? 1 : 0) << item.file;
    if (item.first_class < 0) continue;
    const auto count = std::count_if(read.examples.begin(), read.examples.end(),
                                     [](const GlueExample& e) { return *e.label == 0.0; });
    EXPECT_EQ(count, item.first_class) << item.file;
  }
}

}  // namespace
}  // namespace quell

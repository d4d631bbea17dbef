// Data as the Hub serves them give the very results of the files that they were made from.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cstdlib>

#include "framework/base/file.h"
#include "framework/io/parquet.h"
#include "tests/support/engine.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

const std::filesystem::path kShared = source_folder() / "../shared";

class ParquetTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!reads_parquet()) GTEST_SKIP() << "built without Arrow";
    if (!std::filesystem::exists(kShared / "data")) GTEST_SKIP() << "needs " << kShared / "data";
    if (std::system("python3 -c 'import pyarrow' 2> /dev/null") != 0) {
      GTEST_SKIP() << "needs Python with pyarrow; PYTHONPATH=$QUELL_CACHE/pyarrow-26.0.1 has it";
    }
  }
  // The path of the folder that tests/data/parquet/hub_layout.py makes.
  std::string convert(const std::string& arguments) const {
    const std::string out = (folder_ / "hub").string();
    const std::string command =
        fmt::format("python3 {}/parquet/hub_layout.py {} {}", test_data().string(), arguments, out);
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return out;
  }
  // What a run of the float model leaves: predictions and metrics.
  std::string run(const std::string& name, const std::string& model, const std::string& task) {
    write_file(folder_ / (name + ".yaml"),
               fmt::format("name: same\nmodel: {{path: {}}}\ntask: {}\npipeline: []\n"
                           "stages: [float]\n",
                           model, task));
    const ProgramResult result =
        run_quell({"run", name + ".yaml", "--output", name}, folder_.path());
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return read_file(folder_ / name / "predictions.jsonl") +
           read_file(folder_ / name / "metrics.json");
  }

  TemporaryFolder folder_;
};

TEST_F(ParquetTest, GlueFolder) {
  struct Case {
    const char *name, *folder, *model;
  };
  const Case cases[] = {{"sst2", "SST-2", "minilm-sst2"},
                        {"mrpc", "MRPC", "minilm-mrpc"},
                        {"cola", "CoLA", "minilm-cola"}};
  for (const Case& one : cases) {
    const std::string tsv = (kShared / "data/glue" / one.folder).string();
    const std::string hub =
        convert(fmt::format("glue {} {}/train.tsv {}/dev.tsv", one.name, tsv, tsv));
    const std::string model = (kShared / "models" / one.model).string();
    const std::string task = "{{type: glue, name: {}, path: {}}}";
    EXPECT_EQ(run("from_hub", model, fmt::format(fmt::runtime(task), one.name, hub)),
              run("from_tsv", model, fmt::format(fmt::runtime(task), one.name, tsv)))
        << one.name;
  }
}

// A head drawn at random answers as well as any: it has to say the same twice.
TEST_F(ParquetTest, SquadFolder) {
  const std::string file = (kShared / "data/squad/xquad.en.json").string();
  const std::string hub = convert("squad " + file);
  const std::string model =
      (kShared / "models/minilm-sst2").string() + ", head: question_answering";
  const std::string task = "{{type: squad, dev_articles: 0-3, {}: {}}}";
  const std::string expected =
      run("from_json", model, fmt::format(fmt::runtime(task), "dev_file", file));
  EXPECT_THAT(expected, testing::HasSubstr("exact_match"));
  EXPECT_EQ(run("from_hub", model, fmt::format(fmt::runtime(task), "path", hub)), expected);
}

}  // namespace
}  // namespace quell

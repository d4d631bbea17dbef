// Outlier dumps as a user gets them, checked by NumPy and the Python reader where they are there.
#include <gmock/gmock.h>

#include "framework/base/file.h"
#include "framework/io/hdf5_reader.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class OutliersTest : public testing::Test {
 protected:
  OutliersTest() {
    folder_.write("glue.yaml",
                  glue_experiment(folder_) +
                      "pipeline: [gamma_migration, calibrate]\n"
                      "stages: [float, quantized]\n"
                      "record: {outliers: {all_tokens: true, raw: \"*\", raw_tokens: 100000}}\n");
    folder_.write("tiny.yaml", tokens_experiment());
  }
  ProgramResult quell(const std::vector<std::string>& arguments) {
    return run_quell(arguments, folder_.path());
  }
  void expect_success(const std::vector<std::string>& arguments) {
    const ProgramResult result = quell(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.errors;
  }
  // Runs tests of analysis/tests on `file`.
  void expect_python(const std::string& python, const std::string& tests, const std::string& file) {
    const ProgramResult result = run_command(
        {"env", "QUELL_OUTLIERS=" + (folder_ / file).string(), "PYTHONDONTWRITEBYTECODE=1", python,
         "-W", "ignore", "-m", "unittest", "tests.test_outliers." + tests},
        source_folder() / "analysis");
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_THAT(result.errors, HasSubstr("Ran ")) << result.errors;
  }

  TemporaryFolder folder_;
};

TEST_F(OutliersTest, EqualNumpyOnRawActivations) {
  const std::string python = python_with("h5py");
  if (python.empty()) GTEST_SKIP() << "needs Python with h5py";
  expect_success({"run", "glue.yaml", "--output", "out"});
  expect_python(python, "AgainstNumpy", "out/outliers.h5");
}

TEST_F(OutliersTest, ReadIntoPandasAndFigures) {
  const std::string python = python_with("pandas, h5py, matplotlib");
  if (python.empty()) GTEST_SKIP() << "needs Python with h5py, pandas and matplotlib";
  expect_success({"run", "glue.yaml", "--output", "out"});
  expect_python(python, "Reader", "out/outliers.h5");
  expect_success({"outliers", "glue.yaml", "--output", "alone.h5"});
  expect_python(python, "HiddenStates", "alone.h5");
}

TEST_F(OutliersTest, EqualBytesForAnyNumberOfThreads) {
  expect_success({"outliers", "glue.yaml", "--output", "first.h5"});
  expect_success({"outliers", "glue.yaml", "--output", "second.h5"});
  EXPECT_EQ(read_file(folder_ / "first.h5"), read_file(folder_ / "second.h5"));
  if (!products_ignore_company()) {
    GTEST_SKIP() << "on this processor MKL's bits depend on how many threads share the rows";
  }
  expect_success({"outliers", "glue.yaml", "--output", "third.h5", "--set", "threads=2"});
  const std::string one = read_file(folder_ / "first.h5"), two = read_file(folder_ / "third.h5");
  ASSERT_EQ(one.size(), two.size());
  int different = 0;
  for (size_t i = 0; i < one.size(); ++i) different += one[i] != two[i];
  EXPECT_EQ(different, 1) << "only the digit of `threads: 1`";
  EXPECT_EQ(folder_.partial_files(), 0);
}

TEST_F(OutliersTest, TableNamesChannelsAndTokens) {
  const ProgramResult result = quell({"outliers", "glue.yaml", "--quiet"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("encoder.0.attention.norm"));
  EXPECT_THAT(result.output, HasSubstr("[SEP] (sep)"));
  EXPECT_TRUE(fs::exists(folder_ / "runs/few-sentences/outliers.h5"));
  // What is there is kept, unless asked otherwise.
  EXPECT_EQ(quell({"outliers", "glue.yaml"}).exit_code, 2);
  EXPECT_EQ(quell({"outliers", "glue.yaml", "--overwrite", "--quiet"}).exit_code, 0);
  EXPECT_EQ(quell({"outliers"}).exit_code, 2);
}

// Token ids alone: no texts, no special tokens, but the same numbers.
TEST_F(OutliersTest, WorkWithoutATokenizer) {
  expect_success({"outliers", "tiny.yaml", "--output", "tiny.h5", "--set",
                  "record.outliers={sites: \"activation:encoder.0.*\", sigmas: 3}"});
  const Hdf5Reader file(folder_ / "tiny.h5");
  EXPECT_TRUE(file.exists("stages/float/sites/encoder.0.ffn.gelu/channels/kurtosis"));
  EXPECT_FALSE(file.exists("stages/float/sites/encoder.1.ffn.gelu"));
  EXPECT_FALSE(file.exists("stages/float/sites/encoder.0.ffn.gelu/raw"));
  EXPECT_EQ(file.read_tensor("axes/sigma").numel(), 1);
}

TEST_F(OutliersTest, AreAbsentUnlessAskedFor) {
  expect_success({"run", "glue.yaml", "--output", "out"});
  EXPECT_TRUE(fs::exists(folder_ / "out/outliers.h5"));
  expect_success({"run", "tiny.yaml", "--output", "out", "--overwrite"});
  EXPECT_FALSE(fs::exists(folder_ / "out/outliers.h5")) << "of the earlier run";
}

TEST_F(OutliersTest, BadRequestsAreRefused) {
  ProgramResult result = quell(
      {"outliers", "tiny.yaml", "--set", "record.outliers={sites: \"activation:decoder.*\"}"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr("matches no activation"));
  result = quell({"outliers", "tiny.yaml", "--set", "record.outliers={sigmas: [6, 4]}"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.errors, HasSubstr("must ascend"));
  expect_success({"outliers", "tiny.yaml", "--output", "tiny.h5"});
  result = quell({"inspect", "tiny.h5"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.errors, HasSubstr("no results file"));
}

}  // namespace
}  // namespace quell

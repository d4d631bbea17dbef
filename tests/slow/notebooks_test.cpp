// The notebooks run from nothing but a fresh clone, and draw; what they read is read right.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "framework/base/file.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kSource = source_folder();
constexpr int kCannotInstall = 77;  // of tools/notebooks.sh

// Every fourth line of `file` behind its header.
std::string fewer_lines(const fs::path& file) {
  std::ifstream input(file);
  std::string line, lines;
  for (int i = 0; std::getline(input, line); ++i) {
    if (i == 0 || i % 4 == 1) lines += line + "\n";
  }
  return lines;
}

std::vector<fs::path> notebooks() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(kSource / "analysis/notebooks")) {
    if (entry.path().extension() == ".ipynb") files.push_back(entry.path());
  }
  return files;
}

TEST(Notebooks, RunFromNothingAndDraw) {
  const TemporaryFolder folder;
  const auto sentences =
      folder.write("dev.tsv", fewer_lines(kSource / "experiments/quickstart/data/dev.tsv"));
  const ProgramResult result = run_command(
      {(kSource / "tools/notebooks.sh").string(), program_path(), (folder / "runs").string(),
       "task.dev_file=" + sentences.string(), "calibration.samples=32", "threads=1"},
      folder.path());
  if (result.exit_code == kCannotInstall) GTEST_SKIP() << result.output;
  ASSERT_EQ(result.exit_code, 0) << result.output << result.errors;
  for (const fs::path& notebook : notebooks()) {
    const std::string name = notebook.stem().string();
    EXPECT_THAT(result.output, HasSubstr(name + ".ipynb: "));
    EXPECT_GT(fs::file_size(folder.path() / "runs/notebooks" / (name + "_1.png")), 5000u) << name;
  }
}

// Outputs make large differences of small changes.
TEST(Notebooks, AreStoredWithoutOutputs) {
  EXPECT_EQ(notebooks().size(), 5u);
  for (const fs::path& notebook : notebooks()) {
    const std::string text = read_file(notebook);
    EXPECT_THAT(text, HasSubstr("\"outputs\": []")) << notebook;
    EXPECT_THAT(text, Not(HasSubstr("output_type"))) << notebook;
    EXPECT_THAT(text, Not(HasSubstr("image/png"))) << notebook;
  }
}

TEST(Analysis, ReadsSweepsAndSensitivity) {
  const std::string python = python_with("pandas, h5py, matplotlib");
  if (python.empty()) GTEST_SKIP() << "needs Python with h5py, pandas and matplotlib";
  const ProgramResult result = run_command({"env", "PYTHONDONTWRITEBYTECODE=1", python, "-W",
                                            "ignore", "-m", "unittest", "tests.test_sweeps"},
                                           kSource / "analysis");
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_THAT(result.errors, HasSubstr("Ran 6 tests"));
}

}  // namespace
}  // namespace quell

// The tables of `quell report` are LaTeX that compiles, where there is a LaTeX.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/support/paths.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

const fs::path kQuickstart = source_folder() / "experiments/quickstart";

bool has_latex(const fs::path& folder) {
  return run_command({"pdflatex", "--version"}, folder).exit_code == 0 &&
         run_command({"kpsewhich", "booktabs.sty"}, folder).exit_code == 0;
}

TEST(Report, LatexCompiles) {
  const TemporaryFolder folder;
  if (!has_latex(folder.path())) {
    GTEST_SKIP() << "needs pdflatex and booktabs (texlive-latex-base, texlive-latex-recommended)";
  }
  folder.write("dev.tsv", "sentence\tlabel\na gripping film\t1\ndull\t0\na mess\t0\nlovely\t1\n");
  for (const char* bits : {"8", "4"}) {
    const ProgramResult run =
        run_quell({"run", (kQuickstart / "w8a8.yaml").string(), "--output",
                   (folder.path() / "runs" / bits).string(), "--set",
                   std::string("name=50%_of_{a&b}_") + bits, "--set", "threads=1", "--set",
                   "calibration.samples=4", "--set", std::string("rules[1].bits=") + bits, "--set",
                   "task.dev_file=" + (folder / "dev.tsv").string()},
                  folder.path());
    ASSERT_EQ(run.exit_code, 0) << run.errors;
  }
  // Plain, with a spread and a test, and with groups of rows.
  const std::vector<std::vector<std::string>> tables = {
      {},
      {"--stage", "all", "--rows", "name", "--columns", "stage", "--baseline", "stage=float"},
      {"--stage", "all", "--rows", "stage,name", "--columns", "quant.rules[3].bits", "--spread",
       "interval"}};
  std::string page = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n";
  for (size_t i = 0; i < tables.size(); ++i) {
    const std::string name = "table" + std::to_string(i) + ".tex";
    std::vector<std::string> command = {"report", "runs",     "--format",
                                        "latex",  "--output", (folder / name).string()};
    command.insert(command.end(), tables[i].begin(), tables[i].end());
    const ProgramResult report = run_quell(command, folder.path());
    ASSERT_EQ(report.exit_code, 0) << report.errors;
    page += "\\input{" + name + "}\n\n";
  }
  folder.write("page.tex", page + "\\end{document}\n");
  const ProgramResult latex = run_command(
      {"pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"}, folder.path());
  EXPECT_EQ(latex.exit_code, 0) << latex.output;
  EXPECT_THAT(latex.output, Not(HasSubstr("Missing character")));
  EXPECT_TRUE(fs::exists(folder / "page.pdf"));
}

}  // namespace
}  // namespace quell

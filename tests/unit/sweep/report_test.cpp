// Tables from runs whose numbers are made up, so that every entry can be computed by hand.
#include "framework/sweep/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include "framework/base/error.h"
#include "framework/sweep/report_format.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kMissing = -1;

// Two methods, two widths (which a zip sets twice), up to three seeds.
class ReportTest : public testing::Test {
 protected:
  ReportTest() {
    list_.axes = {{"rules[0].bits", "rules[1].bits"}, {"base"}, {"seed"}};
    add("8", "minmax", {0.80, 0.82, 0.84});
    add("8", "twc", {0.85, 0.85, 0.85});
    add("4", "minmax", {0.50, 0.60, kMissing});
    add("4", "twc", {kMissing, kMissing, kMissing});
  }

  void add(const std::string& bits, const std::string& method, const std::vector<double>& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      quell::Run run;
      run.settings = {{"rules[0].bits", bits},
                      {"rules[1].bits", bits},
                      {"base", "methods/" + method + ".yaml"},
                      {"seed", std::to_string(i + 1)}};
      run.folder = folder_ / fmt::format("{}-{}-{}", method, bits, i);
      if (values[i] != kMissing) {
        run.complete = true;
        run.stages = {{"float", {{"accuracy", 0.9}, {"loss", 0.3}}},
                      {"quantized", {{"accuracy", values[i]}, {"loss", 2 - values[i]}}}};
        run.config = {{"name", "x"}, {"task.name", "sst2"}, {"seed", std::to_string(i + 1)}};
      }
      list_.runs.push_back(run);
    }
  }
  std::string text(const ReportOptions& options = {}, Spread spread = Spread::kDeviation) {
    std::string text;
    for (const auto& row : report_grid(make_report(list_, options), spread)) {
      text += fmt::format("{}\n", fmt::join(row, "|"));
    }
    return text;
  }

  TemporaryFolder folder_;
  RunList list_;
};

TEST_F(ReportTest, SweptKeysAreRowsAndColumnsAndSeedsAreAveraged) {
  const ReportTable report = make_report(list_, {});
  EXPECT_THAT(report.row_keys, ElementsAre("base"));
  EXPECT_THAT(report.column_keys, ElementsAre("rules[0].bits"));
  EXPECT_THAT(report.averaged, ElementsAre("seed"));
  EXPECT_EQ(report.metric, "accuracy");
  EXPECT_EQ(report.stage, "quantized");
  EXPECT_EQ(text(),
            "base|8|4\n"
            "minmax|82.00 ± 2.00|55.00 ± 7.07 (2 of 3)\n"
            "twc|85.00 ± 0.00|missing\n");
}

TEST_F(ReportTest, IntervalsAreThoseOfTheBootstrap) {
  const ReportTable report = make_report(list_, {});
  // 1 of the 27 resamples has the mean 80, which is more than 2.5 %.
  EXPECT_DOUBLE_EQ(report.cells[0][0].interval.low, 0.80);
  EXPECT_DOUBLE_EQ(report.cells[0][0].interval.high, 0.84);
  EXPECT_THAT(text({}, Spread::kInterval), HasSubstr("82.00 [80.00, 84.00]"));
}

TEST_F(ReportTest, MarkdownHasTheBestOfEachColumnInBold) {
  EXPECT_EQ(report_markdown(make_report(list_, {}), Spread::kDeviation),
            "| base | 8 | 4 |\n"
            "|---|---:|---:|\n"
            "| minmax | 82.00 ± 2.00 | 55.00 ± 7.07 (2 of 3) |\n"
            "| twc | **85.00** ± 0.00 | missing |\n"
            "\n"
            "accuracy in percent, stage quantized, by bits.\n"
            "Mean ± standard deviation over seed.\n"
            "Some cells of the sweep are not done.\n");
}

TEST_F(ReportTest, LatexIsATabularOfBooktabs) {
  EXPECT_EQ(report_latex(make_report(list_, {}), Spread::kNone),
            "% accuracy in percent, stage quantized, by bits.\n"
            "% Mean over seed.\n"
            "% Some cells of the sweep are not done.\n"
            "% needs \\usepackage{booktabs}\n"
            "\\begin{tabular}{lrr}\n"
            "\\toprule\n"
            " & \\multicolumn{2}{c}{bits} \\\\\n"
            "\\cmidrule(lr){2-3}\n"
            "base & 8 & 4 \\\\\n"
            "\\midrule\n"
            "minmax & 82.00 & 55.00 (2 of 3) \\\\\n"
            "twc & \\textbf{85.00} & -- \\\\\n"
            "\\bottomrule\n"
            "\\end{tabular}\n");
}

TEST_F(ReportTest, CsvHasEveryNumberInFull) {
  const std::string csv = report_csv(make_report(list_, {}));
  EXPECT_THAT(csv, HasSubstr("base,rules[0].bits,stage,metric,runs,expected,mean,sd,low,high,p\n"));
  EXPECT_THAT(csv, HasSubstr("methods/twc.yaml,8,quantized,accuracy,3,3,0.85,"));
  EXPECT_THAT(csv, HasSubstr("methods/twc.yaml,4,quantized,accuracy,0,3,,,,,\n"));
}

TEST_F(ReportTest, KeysCanBeChosen) {
  EXPECT_EQ(text({.rows = {"seed"}, .columns = {"base", "rules[1].bits"}}),
            "seed|minmax, 8|minmax, 4|twc, 8|twc, 4\n"
            "1|80.00|50.00|85.00|missing\n"
            "2|82.00|60.00|85.00|missing\n"
            "3|84.00|missing|85.00|missing\n");
}

TEST_F(ReportTest, StagesAndMetricsAreKeysWhereThereAreSeveral) {
  EXPECT_EQ(
      text({.rows = {"base"}, .columns = {"rules[0].bits"}, .stages = {"all"}}, Spread::kNone),
      "base|8, float|8, quantized|4, float|4, quantized\n"
      "minmax|90.00|82.00|90.00 (2 of 3)|55.00 (2 of 3)\n"
      "twc|90.00|85.00|missing|missing\n");
  // A loss is no share, and the lowest is the best.
  const std::string losses =
      report_markdown(make_report(list_, {.metrics = {"loss"}}), Spread::kNone);
  EXPECT_THAT(losses, HasSubstr("| minmax | 1.18 |"));
  EXPECT_THAT(losses, HasSubstr("| twc | **1.15** |"));
}

TEST_F(ReportTest, UnknownNamesAreMistakes) {
  const auto message = [&](const ReportOptions& options) {
    return message_of<ConfigError>([&] { make_report(list_, options); });
  };
  EXPECT_THAT(message({.rows = {"sead"}}), HasSubstr("did you mean \"seed\"?"));
  EXPECT_THAT(message({.metrics = {"acuracy"}}), HasSubstr("did you mean \"accuracy\"?"));
  EXPECT_THAT(message({.stages = {"quantised"}}), HasSubstr("did you mean \"quantized\"?"));
  EXPECT_THAT(message({.baseline = "base"}), HasSubstr("key=value"));
  EXPECT_THAT(message({.baseline = "base=minmix"}), HasSubstr("did you mean"));
}

// 20 examples of class 1 per run; a method gets the first `right` of them right.
class BaselineReportTest : public ReportTest {
 protected:
  void predict(const std::string& folder, int right) {
    std::string lines;
    for (int i = 0; i < 20; ++i) {
      const char* logits = i < right ? "[0,1]" : "[1,0]";
      lines += fmt::format(
          R"({{"set":"dev","index":{},"label":1,"outputs":{{"float":{{"logits":[0,1]}},)"
          R"("quantized":{{"logits":{}}}}}}})"
          "\n",
          i, logits);
    }
    folder_.write(folder + "/predictions.jsonl", lines);
  }
};

TEST_F(BaselineReportTest, PairsExamplesOfEqualSeeds) {
  for (int seed = 0; seed < 3; ++seed) {
    predict(fmt::format("minmax-8-{}", seed), 10);
    predict(fmt::format("twc-8-{}", seed), 16);
    predict(fmt::format("minmax-4-{}", seed), 10);
  }
  const ReportTable report = make_report(list_, {.baseline = "base=minmax"});
  EXPECT_FALSE(report.cells[0][0].p);  // the baseline itself
  ASSERT_TRUE(report.cells[1][0].p);
  EXPECT_DOUBLE_EQ(*report.cells[1][0].p, 2.0 / 64);  // six examples, all better
  EXPECT_FALSE(report.cells[1][1].p);                 // not run yet
  EXPECT_THAT(report_markdown(report, Spread::kNone), HasSubstr("**85.00**\\*"));
  EXPECT_THAT(report_latex(report, Spread::kNone), HasSubstr("\\textbf{85.00}$^{*}$"));
}

TEST_F(BaselineReportTest, FloatCanBeTheBaseline) {
  for (int seed = 0; seed < 3; ++seed) {
    predict(fmt::format("minmax-8-{}", seed), 10);
    predict(fmt::format("twc-8-{}", seed), 18);
    predict(fmt::format("minmax-4-{}", seed), 20);
  }
  const ReportTable report = make_report(list_, {.baseline = "stage=float"});
  EXPECT_DOUBLE_EQ(*report.cells[0][0].p, 2.0 / 1024);
  EXPECT_DOUBLE_EQ(*report.cells[1][0].p, 2.0 / 4);
  EXPECT_DOUBLE_EQ(*report.cells[0][1].p, 1);
}

// Runs of no sweep, from their files.
TEST(FindRuns, ReadsFoldersBelow) {
  const TemporaryFolder folder;
  for (const char* name : {"b", "a"}) {
    folder.write(fmt::format("runs/{}/metrics.json", name),
                 R"({"stages": {"quantized": {"accuracy": 0.5, "f1": null}}})");
    folder.write(
        fmt::format("runs/{}/config.resolved.yaml", name),
        fmt::format("name: run-{}\nquant:\n  rules:\n    - {{sites: [x, y], bits: 6}}\n", name));
  }
  const RunList list = find_runs({(folder / "runs").string()});
  ASSERT_EQ(list.runs.size(), 2u);
  EXPECT_EQ(list.runs[0].value("name"), "run-a");
  EXPECT_EQ(list.runs[0].value("quant.rules[0].bits"), "6");
  EXPECT_EQ(list.runs[0].value("rules[0].bits"), "6");
  EXPECT_EQ(list.runs[0].value("rules[0].sites"), "[x, y]");
  EXPECT_EQ(list.runs[0].value("folder"), "a");
  EXPECT_FALSE(list.runs[0].value("seed"));
  const ReportTable report = make_report(list, {});
  EXPECT_THAT(report.row_keys, ElementsAre("name"));
  EXPECT_THAT(report.rows, ElementsAre(ElementsAre("run-a"), ElementsAre("run-b")));
}

TEST(FindRuns, SaysWhereThereIsNone) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of<DataError>([&] { find_runs({folder.path().string()}); }),
              HasSubstr("no complete run"));
  EXPECT_THAT(message_of<DataError>([&] { find_runs({"nowhere"}); }), HasSubstr("no such folder"));
  folder.write("metrics.json", "{");
  EXPECT_THAT(message_of<DataError>([&] { find_runs({folder.path().string()}); }),
              HasSubstr("metrics.json"));
}

}  // namespace
}  // namespace quell

// What a sweep file means, and what is said about mistakes in it.
#include "framework/sweep/sweep_file.h"

#include <gmock/gmock.h>

#include "framework/base/error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SweepFileTest : public testing::Test {
 protected:
  SweepFile load(const std::string& text) {
    return load_sweep_file(folder_.write("table.yaml", text));
  }
  std::vector<std::string> labels(const std::string& text) {
    Problems problems;
    std::vector<std::string> labels;
    for (const Settings& cell : expand(load(text), problems)) labels.push_back(cell_label(cell));
    problems.throw_if_any();
    return labels;
  }
  std::string mistakes(const std::string& text) {
    return message_of<ConfigError>([&] { labels(text); });
  }
  TemporaryFolder folder_;
};

TEST_F(SweepFileTest, AGridIsAProductWhoseLastKeyChangesFastest) {
  EXPECT_THAT(labels("grid: {seed: [1, 2], 'rules[0].bits': [8, 4]}"),
              ElementsAre("seed=1_bits=8", "seed=1_bits=4", "seed=2_bits=8", "seed=2_bits=4"));
}

TEST_F(SweepFileTest, AGridIsLimited) {
  std::string grid = "grid: {";
  for (int key = 0; key < 12; ++key) {
    grid += "k" + std::to_string(key) + ": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], ";
  }
  EXPECT_THAT(mistakes(grid + "last: [1]}"), HasSubstr("more than 100000 cells"));
}

TEST_F(SweepFileTest, AZipAdvancesTogether) {
  // Keys that say the same are named once.
  EXPECT_THAT(labels("zip: {'rules[0].bits': [8, 4], 'rules[1].bits': [8, 4]}\n"
                     "grid: {base: [a/minmax.yaml, a/twc.yaml]}"),
              ElementsAre("bits=8_minmax", "bits=8_twc", "bits=4_minmax", "bits=4_twc"));
  EXPECT_THAT(labels("zip: {'rules[0].bits': [8, 4], 'rules[1].bits': [8, 6]}"),
              ElementsAre("bits=8", "bits=4_bits=6"));
}

TEST_F(SweepFileTest, SeveralZipsAdvanceIndependently) {
  EXPECT_THAT(labels("zip:\n- {a: [1, 2], b: [3, 4]}\n- {c: [5, 6]}"),
              ElementsAre("a=1_b=3_c=5", "a=1_b=3_c=6", "a=2_b=4_c=5", "a=2_b=4_c=6"));
}

TEST_F(SweepFileTest, AListNamesItsCells) {
  EXPECT_THAT(
      labels("list:\n- {base: float.yaml}\n- {base: twc.yaml, x.bits: 4}\n"
             "grid: {seed: [1, 2]}"),
      ElementsAre("float_seed=1", "float_seed=2", "twc_bits=4_seed=1", "twc_bits=4_seed=2"));
}

TEST_F(SweepFileTest, ExcludedCellsMatchAllKeysAndAnyOfAList) {
  EXPECT_THAT(labels("grid: {a: [1, 2, 3], b: [1, 2]}\n"
                     "exclude:\n- {a: 1, b: 2}\n- {a: [2, 3], b: 1}"),
              ElementsAre("a=1_b=1", "a=2_b=2", "a=3_b=2"));
}

TEST_F(SweepFileTest, ValuesMayBeStructures) {
  const SweepFile sweep = load("grid: {observer: [minmax, {type: ema_minmax, momentum: 0.5}]}");
  EXPECT_EQ(sweep.axes[0].points[0][0].text(), "minmax");
  EXPECT_EQ(sweep.axes[0].points[1][0].text(), R"({"type":"ema_minmax","momentum":0.5})");
}

TEST_F(SweepFileTest, TheNameIsThatOfOneFolder) {
  const std::string grid = "base: x.yaml\ngrid: {seed: [1]}\nname: ";
  EXPECT_EQ(load(grid + "a.b_c=1").output, "runs/a.b_c=1");
  for (const char* name : {"..", "../../x", "/tmp/x", "a b"}) {
    EXPECT_THAT(mistakes(grid + name), HasSubstr("table.yaml:3:7: name: must be the name of one"))
        << name;
  }
}

TEST_F(SweepFileTest, NamesHaveDefaults) {
  const SweepFile sweep = load("base: x.yaml\nset: {threads: 1}\ngrid: {seed: [1]}");
  EXPECT_EQ(sweep.name, "table");
  EXPECT_EQ(sweep.output, "runs/table");
  EXPECT_EQ(sweep.workers, 1);
  EXPECT_EQ(find_setting(sweep.fixed, "base")->text(), "x.yaml");
  EXPECT_EQ(find_setting(sweep.fixed, "threads")->text(), "1");
}

TEST_F(SweepFileTest, TheCommandLineSetsWhatIsNotSwept) {
  SweepFile sweep = load("set: {threads: 1}\ngrid: {seed: [1]}");
  add_fixed(sweep, "threads=2");
  ASSERT_EQ(sweep.fixed.size(), 1u);
  EXPECT_EQ(sweep.fixed[0].text(), "2");
  EXPECT_THAT(message_of<ConfigError>([&] { add_fixed(sweep, "seed=2"); }), HasSubstr("sweeps"));
  EXPECT_THAT(message_of<ConfigError>([&] { add_fixed(sweep, "seed"); }), HasSubstr("expected"));
}

TEST_F(SweepFileTest, AllMistakesAreShownWithTheirLines) {
  const std::string text = mistakes(
      "gird: {a: [1]}\n"
      "workers: many\n"
      "grid:\n"
      "  seed: 3\n"
      "  b: []\n"
      "zip: {c: [1, 2], d: [1]}\n"
      "list: [1]\n"
      "exclude: [{e: 1}]\n");
  EXPECT_THAT(text, HasSubstr("table.yaml:1:1: gird: unknown key; did you mean \"grid\"?"));
  EXPECT_THAT(text, HasSubstr("table.yaml:2:10: workers: must be in [1, 1024], found \"many\""));
  EXPECT_THAT(text, HasSubstr("table.yaml:4:9: seed: expected a list of values, found \"3\""));
  EXPECT_THAT(text, HasSubstr("table.yaml:5:6: b: expected a list of values, found an empty one"));
  EXPECT_THAT(text, HasSubstr("c has 2 values, d has 1"));
  EXPECT_THAT(text, HasSubstr("table.yaml:7:8: list[0]: expected a map"));
  EXPECT_THAT(text, HasSubstr("\"e\" is not swept"));
}

TEST_F(SweepFileTest, AKeyComesFromOnePlace) {
  EXPECT_THAT(mistakes("set: {a: 1}\ngrid: {a: [1, 2]}"), HasSubstr("set twice"));
  EXPECT_THAT(mistakes("zip: {a: [1, 2]}\ngrid: {a: [1, 2]}"), HasSubstr("set twice"));
  EXPECT_THAT(mistakes("base: a.yaml\nexperiment: b.yaml\ngrid: {a: [1]}"),
              HasSubstr("write one of them"));
}

TEST_F(SweepFileTest, ExcludesThatDoNothingAreMistakes) {
  EXPECT_THAT(mistakes("grid: {a: [1, 2]}\nexclude: [{a: 3}]"),
              HasSubstr("table.yaml:2:12: exclude: this matches no cell"));
  EXPECT_THAT(mistakes("grid: {a: [1]}\nexclude: [{a: 1}]"), HasSubstr("no cells"));
}

TEST(CellLabel, CanBeAFileName) {
  const ConfigNode value = ConfigNode::scalar("data/a b:c*");
  EXPECT_EQ(cell_label({{"task.path", value}}), "path=a-b-c-");
  EXPECT_EQ(cell_label({}), "only");
}

}  // namespace
}  // namespace quell

// Whole experiments: base files, --set options, files that a configuration names.
#include "framework/config/load.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/config/paths.h"
#include "framework/config/schema.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Rule {
  std::string sites;
  int64_t bits = 8;

  template <class V>
  static void describe(V& v) {
    v("sites", &Rule::sites, "pattern", required());
    v("bits", &Rule::bits, "bits", in_range(2, 16));
  }
};

struct Quant {
  std::vector<Rule> rules;
  int64_t samples = 1;

  template <class V>
  static void describe(V& v) {
    v("rules", &Quant::rules, "rules");
    v("samples", &Quant::samples, "samples");
  }
};

struct Calibration {
  int64_t samples = 256;
  std::string split = "train";
  std::filesystem::path file;

  template <class V>
  static void describe(V& v) {
    v("samples", &Calibration::samples, "samples");
    v("split", &Calibration::split, "split");
    v("file", &Calibration::file, "file", existing_file());
  }
};

struct Experiment {
  std::string name;
  uint64_t seed = 42;
  Quant quant;
  Calibration calibration;

  template <class V>
  static void describe(V& v) {
    v("name", &Experiment::name, "name");
    v("seed", &Experiment::seed, "seed");
    v("quant", &Experiment::quant, "quantization");
    v("calibration", &Experiment::calibration, "calibration");
  }
};

class Load : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  ConfigNode tree(const std::vector<std::string>& overrides = {}) {
    return load_config(path("exp.yaml"), overrides, schema_of<Experiment>(), problems_);
  }
  Experiment load(const std::vector<std::string>& overrides = {}) {
    ReadContext context{problems_};
    return read_config<Experiment>(tree(overrides), context);
  }
  std::vector<std::string> problems_of(const std::vector<std::string>& overrides) {
    load(overrides);
    return problems_.lines();
  }

  TemporaryFolder folder_;
  Problems problems_;
};

TEST_F(Load, BaseIsMergedMapByMap) {
  folder_.write("sub/base.yaml",
                "name: base\nseed: 7\nquant: {samples: 5, rules: [{sites: a}, {sites: b}]}\n");
  folder_.write("exp.yaml",
                "base: sub/base.yaml\nname: child\nquant:\n  rules: [{sites: c, bits: 4}]\n");
  const Experiment experiment = load();
  problems_.throw_if_any();
  EXPECT_EQ(experiment.name, "child");
  EXPECT_EQ(experiment.seed, 7u);
  EXPECT_EQ(experiment.quant.samples, 5);
  ASSERT_EQ(experiment.quant.rules.size(), 1u);
  EXPECT_EQ(experiment.quant.rules[0].sites, "c");
}

TEST_F(Load, BasesOfBasesAndListsLaterWins) {
  folder_.write("deep/far.yaml", "name: far\nseed: 1\nquant: {samples: 1}\n");
  folder_.write("deep/near.yaml", "base: far.yaml\nseed: 2\n");
  folder_.write("other.yaml", "name: other\n");
  folder_.write("exp.yaml", "base: [deep/near.yaml, other.yaml]\n");
  const Experiment experiment = load();
  problems_.throw_if_any();
  EXPECT_EQ(experiment.name, "other");
  EXPECT_EQ(experiment.seed, 2u);
}

TEST_F(Load, TheSameBaseTwiceIsNoCircle) {
  folder_.write("common.yaml", "seed: 3\n");
  folder_.write("a.yaml", "base: common.yaml\n");
  folder_.write("exp.yaml", "base: [a.yaml, common.yaml]\n");
  EXPECT_EQ(load().seed, 3u);
}

// Thirty levels of two bases each: a billion files, were each read for every use.
TEST_F(Load, BasesAreReadOnce) {
  folder_.write("b0.yaml", "seed: 3\n");
  for (int level = 1; level <= 30; ++level) {
    const std::string below = "b" + std::to_string(level - 1) + ".yaml";
    folder_.write("b" + std::to_string(level) + ".yaml", "base: [" + below + ", " + below + "]\n");
  }
  folder_.write("exp.yaml", "base: b30.yaml\n");
  EXPECT_EQ(load().seed, 3u);
}

TEST_F(Load, ErrorsNameTheFileThatSaysIt) {
  folder_.write("base.yaml", "quant:\n  samples: many\n");
  folder_.write("exp.yaml", "base: base.yaml\nname: x\nsead: 3\n");
  EXPECT_THAT(
      problems_of({}),
      ElementsAre(path("exp.yaml") + ":3:1: sead: unknown key; did you mean \"seed\"?",
                  path("base.yaml") + ":2:12: quant.samples: expected an integer, found \"many\""));
}

TEST_F(Load, AnotherTypeReplacesTheWholeMap) {
  folder_.write("base.yaml", "quant: {type: a, samples: 5}\nsame: {type: a, x: 1}\n");
  folder_.write("exp.yaml", "base: base.yaml\nquant: {type: b}\nsame: {type: a, y: 2}\n");
  const ConfigNode root = tree();
  EXPECT_FALSE(root.find("quant")->find("samples"));
  EXPECT_TRUE(root.find("same")->find("x"));
  EXPECT_FALSE(root.find("base"));
}

TEST_F(Load, CirclesAreFound) {
  folder_.write("exp.yaml", "name: x\nbase: sub/b.yaml\n");
  folder_.write("sub/b.yaml", "base: ../exp.yaml\n");
  EXPECT_EQ(message_of<ConfigError>([&] { tree(); }),
            path("sub/b.yaml") + ":1:7: base: the files include each other: " + path("exp.yaml") +
                " -> " + path("sub/b.yaml") + " -> " + path("exp.yaml"));
  folder_.write("exp.yaml", "base: exp.yaml\n");
  Problems own;
  EXPECT_THROW(load_config(path("exp.yaml"), {}, schema_of<Experiment>(), own), ConfigError);
}

TEST_F(Load, MissingOrOddBases) {
  folder_.write("exp.yaml", "base: nowhere.yaml\n");
  EXPECT_THAT(message_of<ConfigError>([&] { tree(); }),
              HasSubstr(path("exp.yaml") + ":1:7: base: no file \"nowhere.yaml\"; looked for " +
                        path("nowhere.yaml") + ", nowhere.yaml, "));
  folder_.write("exp.yaml", "base: {a: b}\n");
  Problems own;
  EXPECT_EQ(message_of<ConfigError>(
                [&] { load_config(path("exp.yaml"), {}, schema_of<Experiment>(), own); }),
            path("exp.yaml") + ":1:7: base: expected a file or a list of files, found a map");
}

TEST_F(Load, OverridesReplaceAndCreate) {
  folder_.write("exp.yaml", "name: x\nquant:\n  rules: [{sites: a}, {sites: b}]\n");
  const Experiment experiment = load({"seed=9", "quant.rules[1].bits=4", "calibration.split=dev",
                                      "quant.rules[0]={sites: \"z:*\", bits: 2}", "name=a=b"});
  problems_.throw_if_any();
  EXPECT_EQ(experiment.seed, 9u);
  EXPECT_EQ(experiment.name, "a=b");
  EXPECT_EQ(experiment.quant.rules[0].sites, "z:*");
  EXPECT_EQ(experiment.quant.rules[0].bits, 2);
  EXPECT_EQ(experiment.quant.rules[1].bits, 4);
  EXPECT_EQ(experiment.quant.rules[1].sites, "b");
  EXPECT_EQ(experiment.calibration.split, "dev");
}

TEST_F(Load, ShortFormOfAnOverride) {
  folder_.write("exp.yaml", "quant: {rules: [{sites: a}]}\n");
  EXPECT_EQ(load({"rules[0].bits=4", "split=dev"}).quant.rules[0].bits, 4);
  problems_.throw_if_any();
  EXPECT_THAT(problems_of({"samples=3", "slit=dev", "bits=4", "rules.x=1"}),
              ElementsAre("--set samples=3: samples: could mean quant.samples or "
                          "calibration.samples: write one of them",
                          "--set slit=dev: slit: unknown key; did you mean \"split\"?",
                          "--set bits=4: bits: unknown key; known: name, seed, quant, calibration",
                          "--set rules.x=1: quant.rules: is a list, not a map, so \"x\" cannot be "
                          "set in it"));
}

TEST_F(Load, OverrideOfAStepWithoutParameters) {
  folder_.write("exp.yaml", "quant: {rules: [a, b]}\n");
  const ConfigNode root = tree({"quant.rules[1].b.bits=4"});
  problems_.throw_if_any();
  EXPECT_EQ(to_json(*root.find("quant")).dump(), R"({"rules":["a",{"b":{"bits":4}}]})");
}

TEST_F(Load, BadOverrides) {
  folder_.write("exp.yaml", "name: x\nquant: {rules: [{sites: a}]}\n");
  EXPECT_THAT(
      problems_of({"seed", "=3", "seed=[1", "seed=many", "quant.rules[7].bits=4", "name.y=3",
                   "quant.rulez=3", "name[0]=3", "a..b=1", "seed.=1", "quant.rules[x]=1",
                   "calibration.split=", "seed={a: 1, a: 2}"}),
      ElementsAre(
          "--set seed: expected a.b=value or rules[0].bits=value",
          "--set =3: expected a.b=value or rules[0].bits=value",
          "--set seed=[1: not valid YAML: end of sequence flow not found",
          "--set quant.rules[7].bits=4: quant.rules: has 1 entries, so there is no [7]",
          "--set name.y=3: name: is \"x\", not a map, so \"y\" cannot be set in it; set the whole "
          "value: --set 'name={type: x, y: 3}'",
          "--set name[0]=3: name: expected a list to take entry 0 of, found \"x\"",
          "--set a..b=1: expected a.b=value or rules[0].bits=value",
          "--set seed.=1: expected a.b=value or rules[0].bits=value",
          "--set quant.rules[x]=1: expected a.b=value or rules[0].bits=value",
          "--set seed={a: 1, a: 2}: a: this key is set twice, first in line 1",
          "--set seed=many: seed: expected an integer of at least 0, found \"many\"",
          "--set quant.rulez=3: quant.rulez: unknown key; did you mean \"rules\"?",
          "--set calibration.split=: calibration.split: expected a string, found nothing; an empty "
          "string is written \"\""));
}

TEST_F(Load, AnUnknownKeyKeepsItsPlaceUnderAnOverride) {
  folder_.write("exp.yaml", "quant: {samplez: 3}\n");
  EXPECT_THAT(problems_of({"quant.samplez=4"}),
              ElementsAre(path("exp.yaml") +
                          ":1:9: quant.samplez: unknown key; did you mean \"samples\"?"));
}

class Paths : public Load {
 protected:
  void SetUp() override {
    before_ = std::filesystem::current_path();
    folder_.write("file_folder/here.txt", "");
    folder_.write("work/there.txt", "");
    folder_.write("built_in/everywhere.txt", "");
    std::filesystem::current_path(folder_ / "work");
    ::setenv("QUELL_EXPERIMENTS", path("built_in").c_str(), 1);
  }
  void TearDown() override {
    std::filesystem::current_path(before_);
    ::unsetenv("QUELL_EXPERIMENTS");
  }
  std::string resolve(const std::string& text, const Mark& mark, PathKind kind = PathKind::kFile) {
    ConfigNode node = ConfigNode::scalar(text);
    node.mark = mark;
    const auto place = resolve_path(node, "file", kind, problems_);
    return place ? place->string() : "nothing";
  }
  Mark in_file() const { return {path("file_folder/exp.yaml"), 3, 7}; }

  std::filesystem::path before_;
};

TEST_F(Paths, FileThenWorkingFolderThenBuiltIn) {
  EXPECT_EQ(resolve("here.txt", in_file()), path("file_folder/here.txt"));
  EXPECT_EQ(resolve("there.txt", in_file()), "there.txt");
  EXPECT_EQ(resolve("everywhere.txt", in_file()), path("built_in/everywhere.txt"));
  EXPECT_EQ(resolve(path("work/there.txt"), in_file()), path("work/there.txt"));
  folder_.write("file_folder/there.txt", "");
  EXPECT_EQ(resolve("there.txt", in_file()), path("file_folder/there.txt"));
}

TEST_F(Paths, OptionsStartInTheWorkingFolder) {
  EXPECT_EQ(resolve("there.txt", {"--set file=there.txt", 0, 0}), "there.txt");
  EXPECT_EQ(resolve("here.txt", {"--set file=here.txt", 0, 0}), "nothing");
}

TEST_F(Paths, SaysWhereItLooked) {
  EXPECT_EQ(resolve("gone.txt", in_file()), "nothing");
  EXPECT_EQ(resolve("", in_file()), "nothing");
  EXPECT_EQ(resolve("../work", in_file()), "nothing");
  EXPECT_EQ(resolve("here.txt", in_file(), PathKind::kFolder), "nothing");
  const std::string at = in_file().text() + ": file: ";
  EXPECT_THAT(
      problems_.lines(),
      ElementsAre(at + "no file \"gone.txt\"; looked for " + path("file_folder/gone.txt") +
                      ", gone.txt, " + path("built_in/gone.txt"),
                  at + "must not be empty", at + "expected a file, found a folder: " + path("work"),
                  at + "expected a folder, found a file: " + path("file_folder/here.txt")));
}

TEST_F(Paths, AFieldThatMustExist) {
  folder_.write("exp.yaml", "calibration: {file: work/there.txt}\n");
  EXPECT_EQ(load().calibration.file, path("work/there.txt"));
  EXPECT_THAT(problems_.lines(), IsEmpty());
  folder_.write("exp.yaml", "name: an empty default is not looked for\n");
  EXPECT_EQ(load().calibration.file, "");
  EXPECT_THAT(problems_.lines(), IsEmpty());
  EXPECT_EQ(load({"calibration.file=gone"}).calibration.file, "");
  EXPECT_EQ(problems_.size(), 1u);
}

}  // namespace
}  // namespace quell

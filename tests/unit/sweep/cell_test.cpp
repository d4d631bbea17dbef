// Cells of a sweep on a tiny model: their experiments, their mistakes, their fingerprints.
#include "framework/sweep/cell.h"

#include <gmock/gmock.h>

#include <set>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/sweep/cell_folder.h"
#include "framework/sweep/index.h"
#include "framework/sweep/prepared_cells.h"
#include "framework/sweep/runs.h"
#include "tests/support/small_experiment.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class CellTest : public testing::Test {
 protected:
  CellTest() { folder_.write("tiny.yaml", tokens_experiment()); }

  std::vector<Cell> load(const std::string& text) {
    sweep_ = load_sweep_file(folder_.write("sweep.yaml", text));
    return load_cells(sweep_, all_plugins());
  }
  std::vector<Cell> cells(const std::string& text) {
    std::vector<Cell> result = load(text);
    Log log(Verbosity::kQuiet);
    fingerprint_cells(result, all_plugins(), log);
    return result;
  }
  std::string fingerprint(const std::string& text) { return cells(text).at(0).fingerprint; }
  std::string mistakes(const std::string& text) {
    return message_of<ConfigError>([&] { cells(text); });
  }

  TemporaryFolder folder_;
  SweepFile sweep_;
};

TEST_F(CellTest, ACellIsItsExperimentWithSettings) {
  const auto all = load("base: tiny.yaml\nset: {threads: 2}\ngrid: {'rules[1].bits': [8, 4]}");
  ASSERT_EQ(all.size(), 2u);
  const ExperimentSpec by_hand =
      load_experiment(folder_ / "tiny.yaml", {"threads=2", "rules[1].bits=4"}, all_plugins());
  EXPECT_EQ(all[1].config, to_yaml(to_node(by_hand)));
}

TEST_F(CellTest, MethodsAreFiles) {
  folder_.write("methods/other.yaml", "base: ../tiny.yaml\nname: other\nseed: 7\n");
  const auto all = load("grid: {base: [tiny.yaml, methods/other.yaml]}");
  EXPECT_EQ(all[0].label, "tiny");
  EXPECT_EQ(all[1].label, "other");
  EXPECT_EQ(all[1].spec.seed, 7u);
}

TEST_F(CellTest, RelativePathsStartAtTheSweepFile) {
  fs::create_directories(folder_ / "model");
  const auto all = load("base: tiny.yaml\nset: {model.path: model}");
  EXPECT_EQ(all[0].spec.model.path, folder_ / "model");
}

TEST_F(CellTest, AllMistakesOfAllCellsAreShownAtOnce) {
  const std::string text = mistakes(
      "base: tiny.yaml\n"
      "set: {sead: 1}\n"
      "grid:\n"
      "  rules[0].bits: [8, 40]\n"
      "  rules[1].observer: [minmax, mimax]\n");
  EXPECT_THAT(text, HasSubstr("sweep.yaml:2:13: sead: unknown key; did you mean \"seed\"?\n"));
  EXPECT_THAT(text, HasSubstr("sweep.yaml:4:22: quant.rules[0].bits: must be in [2, 16], found 40 "
                              "(2 cells, the first is bits=40_observer=minmax)"));
  EXPECT_THAT(text, HasSubstr("did you mean \"minmax\"? (2 cells"));
}

TEST_F(CellTest, MissingBasesAreMistakes) {
  EXPECT_THAT(mistakes("grid: {seed: [1]}"), HasSubstr("name a file with base:"));
  EXPECT_THAT(mistakes("grid: {base: [tiny.yaml, none.yaml]}"),
              HasSubstr("sweep.yaml:1:26: base: no file \"none.yaml\""));
}

TEST_F(CellTest, RulesAreCheckedAgainstTheModel) {
  EXPECT_THAT(mistakes("base: tiny.yaml\ngrid: {'rules[0].sites': ['weight:*', 'wait:*']}"),
              HasSubstr("wait:*"));
}

TEST_F(CellTest, EqualCellsAreAMistake) {
  EXPECT_THAT(mistakes("base: tiny.yaml\nlist: [{seed: 1}, {seed: 1, threads: 1}]"),
              HasSubstr("two cells are the same experiment: seed=1 and seed=1_threads=1"));
}

TEST_F(CellTest, FingerprintsFollowWhatMatters) {
  fs::copy(tiny_model(), folder_ / "model", fs::copy_options::recursive);
  const std::string text = "base: tiny.yaml\nset: {model.path: model}\ngrid: {seed: [1]}";
  const std::string first = fingerprint(text);
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(fingerprint(text), first);
  // Neither the name of the sweep nor its other cells matter.
  EXPECT_EQ(fingerprint(text + "\nname: other"), first);
  EXPECT_EQ(fingerprint("base: tiny.yaml\nset: {model.path: model}\ngrid: {seed: [1, 2]}"), first);
  std::set<std::string> all = {first};
  EXPECT_TRUE(all.insert(fingerprint("base: tiny.yaml\nset: {model.path: model}\n"
                                     "grid: {seed: [2]}"))
                  .second);
  const fs::path config = folder_ / "model/config.json";
  write_file(config, read_file(config) + "\n");
  EXPECT_TRUE(all.insert(fingerprint(text)).second) << "the model";
  folder_.write("model/generation_config.json", "{}");
  EXPECT_TRUE(all.insert(fingerprint(text)).second) << "what stands beside the weights";
}

TEST_F(CellTest, FingerprintsFollowTheData) {
  folder_.write("glue.yaml", glue_experiment(folder_));
  const std::string text = "base: glue.yaml\ngrid: {seed: [1]}";
  std::set<std::string> all = {fingerprint(text)};
  for (const char* file : {"data/dev.tsv", "data/train.tsv"}) {
    write_file(folder_ / file, read_file(folder_ / file) + "another one\t1\n");
    EXPECT_TRUE(all.insert(fingerprint(text)).second) << file;
  }
}

TEST_F(CellTest, AFolderTellsTheStateOfItsCell) {
  const Cell cell = cells("base: tiny.yaml\ngrid: {seed: [1]}")[0];
  EXPECT_THAT(cell.folder_name(), testing::StartsWith("seed=1-" + cell.fingerprint.substr(0, 8)));
  const fs::path output = folder_ / "out";
  EXPECT_EQ(CellFolders(output).of(cell), output / cell.folder_name());
  const fs::path folder = output / "another-label";
  fs::create_directories(folder);
  write_cell_file(folder, cell);
  EXPECT_EQ(CellFolders(output).of(cell), folder);  // results do not depend on labels
  const auto state = [&] { return cell_state(folder, cell.fingerprint); };
  EXPECT_EQ(state(), CellState::kWaiting);
  write_file(folder / kErrorFile, "exit code 1");
  EXPECT_EQ(state(), CellState::kFailed);
  write_file(folder / "metrics.json", "{}");
  EXPECT_EQ(state(), CellState::kDone);
  EXPECT_EQ(cell_state(folder, "of other code"), CellState::kWaiting);
  fs::create_directories(folder / "progress");  // a later run was stopped
  EXPECT_EQ(state(), CellState::kFailed);
}

TEST_F(CellTest, OneSweepAtATimeHasTheCell) {
  const fs::path folder = folder_ / "cell";
  {
    const CellLock first(folder);
    EXPECT_TRUE(first.held());
    EXPECT_FALSE(CellLock(folder).held());
  }
  EXPECT_TRUE(CellLock(folder).held());
}

// The sweeps that come with quell.
TEST(Sweeps, AreComplete) {
  const SweepFile quickstart_sweep =
      load_sweep_file(source_folder() / "experiments/sweeps/outlier_suppression.yaml");
  EXPECT_EQ(load_cells(quickstart_sweep, all_plugins()).size(), 54u);
  const SweepFile of_notebooks =
      load_sweep_file(source_folder() / "experiments/sweeps/quickstart.yaml");
  EXPECT_EQ(load_cells(of_notebooks, all_plugins()).size(), 36u);
  Problems problems;
  const auto of_tasks =
      expand(load_sweep_file(source_folder() / "experiments/sweeps/outlier_suppression_tasks.yaml"),
             problems);
  EXPECT_EQ(of_tasks.size(), 108u);
  EXPECT_TRUE(problems.empty());
}

TEST_F(CellTest, TheIndexReadsBack) {
  const auto all =
      cells("base: tiny.yaml\nzip: {'rules[0].bits': [8, 4], 'rules[1].bits': [8, 4]}");
  write_sweep_index(folder_.path(), sweep_, all, sweep_status(all, folder_.path()));
  const SweepIndex index = read_sweep_index(folder_.path());
  EXPECT_EQ(index.name, "sweep");
  EXPECT_THAT(index.axes,
              testing::ElementsAre(testing::ElementsAre("rules[0].bits", "rules[1].bits")));
  ASSERT_EQ(index.cells.size(), 2u);
  EXPECT_EQ(index.cells[1].folder, folder_.path() / all[1].folder_name());
  EXPECT_EQ(index.cells[1].fingerprint, all[1].fingerprint);
  folder_.write("sweep.json", "{}");
  EXPECT_THAT(message_of<DataError>([&] { read_sweep_index(folder_.path()); }),
              HasSubstr("sweep.json: damaged"));
}

TEST_F(CellTest, AnIndexDoesNotLeadOutOfItsFolder) {
  const auto read = [&](const std::string& name) {
    folder_.write("sweep.json",
                  R"({"format": "quell sweep", "version": 1, "name": "x", "axes": [], "cells": [)"
                  R"({"folder": ")" +
                      name + R"(", "settings": {}, "fingerprint": "0"}]})");
    return read_sweep_index(folder_.path());
  };
  EXPECT_EQ(read("seed=1-abc").cells[0].folder, folder_ / "seed=1-abc");
  for (const char* name : {"/etc", "..", ".", "", "../other", "a/b", "a/"}) {
    EXPECT_THAT(message_of<DataError>([&] { read(name); }),
                HasSubstr("is not the name of a folder"))
        << name;
  }
}

// What another program has written there, or a disk has made of it.
TEST_F(CellTest, DamagedFilesOfOursAreDataErrors) {
  const Cell cell = cells("base: tiny.yaml\ngrid: {seed: [1]}")[0];
  const fs::path folder = folder_ / cell.folder_name();
  const fs::path experiments = folder_ / "experiments";
  fs::create_directories(folder);
  fs::create_directories(experiments);
  write_file(experiment_file(folder), cell.config);
  write_file(folder / "config.resolved.yaml", cell.config);
  for (const char* damaged :
       {"{}", "[]", "3", "{", R"({"label": 3, "fingerprint": [], "settings": 1})"}) {
    write_file(folder / kCellFile, damaged);
    EXPECT_EQ(cell_state(folder, cell.fingerprint), CellState::kWaiting) << damaged;
    const auto load = [&] {
      load_prepared_cells(folder_.path(), {cell.folder_name()}, all_plugins());
    };
    EXPECT_THAT(message_of<DataError>(load), HasSubstr("cell.json")) << damaged;
    fs::remove(folder / kCellFile);
    write_file(folder / "metrics.json", damaged);
    EXPECT_THAT(message_of<DataError>([&] { read_run(folder); }), HasSubstr("metrics.json"))
        << damaged;
  }
  write_file(folder / "metrics.json", R"({"stages": {"float": {"accuracy": "high"}}})");
  EXPECT_THAT(message_of<DataError>([&] { read_run(folder); }), HasSubstr("metrics.json: damaged"));
}

}  // namespace
}  // namespace quell

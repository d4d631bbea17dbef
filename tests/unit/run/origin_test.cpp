// Results that runs share are kept under texts of all that they follow from. Every field of an
// experiment is changed in turn: one that a text forgets would give silently wrong results.
#include "framework/run/origin.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <set>

#include "framework/base/file.h"
#include "framework/io/checkpoint.h"
#include "framework/sweep/cell.h"
#include "framework/sweep/runs.h"
#include "tests/support/small_experiment.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

// Which texts another value of the field changes:
//   C  the fingerprint of a sweep's cell: everything counts
//   S  what the last step of the pipeline leaves behind
//   N  the network in front of the last step, which observers and searches look at
//   F  the evaluation of the float network
struct Change {
  const char* key;
  const char* value;
  const char* moves;
};

constexpr Change kChanges[] = {
    {"name", "other", "C"},
    {"seed", "7", "CSN"},
    {"threads", "3", "CS"},  // what a network computes gets the number in use
    {"model.type", "roberta", "CSNF"},
    {"model.path", "{other_model}", "CSNF"},
    {"model.head", "question_answering", "CSNF"},
    {"model.engine", "libtorch", "CSNF"},
    {"model.device", "cuda", "CSNF"},
    {"model.device_memory", "64", "CSNF"},
    {"model.by_layer.states", "disk", "CSNF"},
    {"task.type", "glue", "CSNF"},
    {"task.path", "{other_file}", "CSNF"},
    {"task.keys", "c{}.input_ids", "CSNF"},
    {"task.calibration_keys", "c{}.input_ids", "CSNF"},
    {"task.evaluation_keys", "c{}.input_ids", "CSNF"},
    {"task.evaluation_labels", "c{}.labels", "CSNF"},
    {"task.calibration_batches", "[0]", "CSNF"},
    {"task.evaluation_batches", "[0]", "CSNF"},
    {"task.batch_size", "2", "CSNF"},
    {"task.mask_from_padding", "true", "CSNF"},
    {"task.evaluation_padding", "keep", "CSNF"},
    {"task.metrics", "[accuracy]", "CSNF"},
    {"calibration.samples", "3", "CSN"},
    {"calibration.split", "dev", "CSN"},
    {"calibration.file", "{other_file}", "CSN"},
    {"calibration.batch_size", "2", "CSN"},
    {"calibration.batches", "1", "CSN"},
    {"calibration.padding", "keep", "CSNF"},  // which decides on the engine
    {"calibration.pad_to", "64", "CSN"},
    {"quant.include", "", ""},  // its rules are among the others
    {"quant.groups", "", ""},   // rules have the patterns
    {"quant.rules[0].sites", "[\"weight:*.query\"]", "CS"},
    {"quant.rules[0].quantize", "false", "CS"},
    {"quant.rules[0].bits", "5", "CS"},
    {"quant.rules[0].symmetric", "false", "CS"},
    {"quant.rules[0].granularity", "tensor", "CS"},
    {"quant.rules[0].axis", "1", "CS"},
    {"quant.rules[0].group_size", "16", "CS"},
    {"quant.rules[0].groups", "2", "CS"},
    {"quant.rules[0].grid", "qualcomm", "CS"},
    {"quant.rules[0].observer", "avg_minmax", "CS"},
    {"quant.rules[0].quantizer", "lsq", "CS"},
    {"quant.rules[0].during_calibration", "observe_and_quantize", "CS"},
    {"pipeline[0].gamma_migration.epsilon", "0.001", "CSN"},
    {"pipeline[0].gamma_migration.smallest_gamma", "0.5", "CSN"},
    {"pipeline[1].calibrate.from", "{other_file}", "CS"},
    {"pipeline[1].calibrate.entry", "[x]", "CS"},
    {"pipeline[1].calibrate.sites", "[\"weight:*\", \"activation:*\"]", "CS"},
    {"pipeline[1].calibrate.first_batch", "1", "CS"},
    {"pipeline[1].calibrate.batches", "1", "CS"},
    {"stages", "[float]", "C"},
    {"record.site_errors", "false", "C"},
    {"record.site_error_batches", "2", "C"},
    {"record.model", "false", "C"},
    {"record.outliers.sites", "[\"activation:*.norm\"]", "C"},
    {"record.outliers.sigmas", "[5]", "C"},
    {"record.outliers.top_channels", "1", "C"},
    {"record.outliers.top_tokens", "1", "C"},
    {"record.outliers.bins", "8", "C"},
    {"record.outliers.all_tokens", "true", "C"},
    {"record.outliers.raw", "[\"activation:*\"]", "C"},
    {"record.outliers.raw_tokens", "8", "C"},
};

class Origin : public testing::Test {
 protected:
  Origin() {
    folder_.write("other.safetensors", "x");
    folder_.write("inputs", "x");
    fs::create_directories(folder_ / "model");
    experiment_ = folder_.write("experiment.yaml", fmt::format(R"(
name: tiny
model: {{path: {0}}}
task: {{type: tokens, path: {0}/inputs.safetensors, keys: "b{{}}.input_ids", calibration_batches: [0, 1],
       evaluation_batches: [2, 4]}}
quant:
  rules:
    - {{sites: ["weight:*"], quantize: true, bits: 6, symmetric: true, granularity: channel, axis: 0, group_size: 32,
       grid: os, observer: minmax, quantizer: fixed, during_calibration: observe}}
pipeline: [gamma_migration, calibrate]
record: {{outliers: {{}}}}
)",
                                                               tiny_model().string()));
  }

  ExperimentSpec load(const std::vector<std::string>& settings = {}) const {
    return load_experiment(experiment_, settings, all_plugins());
  }

  static std::map<char, std::string> texts(const ExperimentSpec& spec) {
    return {{'C', to_yaml(to_node(spec))},
            {'S', step_settings(spec, spec.pipeline.size() - 1)},
            {'N', network_settings(spec, spec.pipeline.size() - 1)},
            {'F', float_settings(spec)}};
  }

  std::string setting(const Change& change) const {
    std::string value = change.value;
    for (const auto& [name, path] : {std::pair("{other_model}", folder_ / "model"),
                                     std::pair("{other_file}", folder_ / "other.safetensors")}) {
      if (value == name) value = path.string();
    }
    return fmt::format("{}={}", change.key, value);
  }

  TemporaryFolder folder_;
  fs::path experiment_;
};

TEST_F(Origin, EveryFieldMovesTheTextsThatDependOnIt) {
  const ExperimentSpec base = load();
  const auto before = texts(base);
  std::set<std::string> known;
  for (const Change& change : kChanges) {
    known.insert(change.key);
    if (*change.moves == '\0') continue;
    // A type has other parameters: only the types of the same ones can be exchanged by a setting.
    if (std::string(change.key) == "task.type") continue;
    const auto after = texts(load({setting(change)}));
    std::string moved;
    for (const char text : {'C', 'S', 'N', 'F'}) {
      if (after.at(text) != before.at(text)) moved += text;
    }
    EXPECT_EQ(moved, change.moves) << change.key;
  }
  // A field that is new in an experiment needs a line in the table.
  for (const auto& [key, value] : flatten(to_node(base))) {
    EXPECT_TRUE(known.contains(key)) << key << " is not in the table; it is " << value;
  }
}

TEST_F(Origin, StepsFollowFromThoseBefore) {
  const ExperimentSpec spec = load();
  EXPECT_NE(step_settings(spec, 0), step_settings(spec, 1));
  EXPECT_NE(network_settings(spec, 0), network_settings(spec, 1));
  const ExperimentSpec other = load({"pipeline[1].calibrate.entry=[x]"});
  EXPECT_EQ(step_settings(other, 0), step_settings(spec, 0));
  EXPECT_EQ(network_settings(other, 1), network_settings(spec, 1));
}

// A head that is drawn at random follows from the seed.
TEST_F(Origin, SeedsCountForDrawnHeads) {
  const std::string head = "model.head=question_answering";
  EXPECT_NE(float_settings(load({head})), float_settings(load({head, "seed=7"})));
  EXPECT_EQ(float_settings(load()), float_settings(load({"seed=7"})));
}

TEST_F(Origin, InputsAreTheContentsOfFiles) {
  const Checkpoint checkpoint(tiny_model());
  const std::string file = (folder_ / "inputs").string();
  const auto text = [&](const ExperimentSpec& spec, const std::string& model) {
    FileHashes hashes;
    return inputs_text(spec, model, {file}, hashes);
  };
  const std::string before = text(load(), "m");
  EXPECT_NE(text(load(), "other"), before);
  EXPECT_EQ(text(load({"name=other", "seed=3"}), "m"), before);
  folder_.write("inputs", "y");
  const std::string changed = text(load(), "m");
  EXPECT_NE(changed, before);
  // Files that the experiment names count by what is in them.
  const std::string named = "calibration.file=" + (folder_ / "other.safetensors").string();
  const std::string with_file = text(load({named}), "m");
  EXPECT_NE(with_file, changed);
  folder_.write("other.safetensors", "another content");
  EXPECT_NE(text(load({named}), "m"), with_file);
}

TEST_F(Origin, TextsOfTheModelFolderAreInputs) {
  const fs::path model = folder_ / "model";
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::copy_file(tiny_model() / name, model / name);
  }
  for (const char* name : {"vocab.txt", "tokenizer_config.json", "generation_config.json"}) {
    write_file(model / name, "{}");
  }
  write_file(model / "README.md", "not an input");
  const Checkpoint checkpoint(model);
  std::set<std::string> found;
  for (const std::string& file : input_files(checkpoint, {"dev.tsv"})) {
    found.insert(fs::path(file).filename().string());
  }
  EXPECT_EQ(found, (std::set<std::string>{"dev.tsv", "vocab.txt", "tokenizer_config.json",
                                          "generation_config.json"}));
}

}  // namespace
}  // namespace quell

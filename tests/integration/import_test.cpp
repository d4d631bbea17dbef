// Configuration files of published code become experiments that load and say what the files said.
#include <gmock/gmock.h>

#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/import/outlier_suppression.h"
#include "tests/integration/imported.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// The sections that a file needs, with one piece of text replaced.
std::string edited(const std::string& from, const std::string& to) {
  std::string yaml = R"(quant:
  calibrate: 256
  ln: {delay: True}
  a_qconfig: {quantizer: LSQPlusFakeQuantize, observer: AvgPruneMinMaxObserver, bit: 6, symmetric: False, ch_axis: -1}
  w_qconfig: {quantizer: FixedFakeQuantize, observer: MinMaxObserver, bit: 6, symmetric: True, ch_axis: 0}
data: {task_name: cola, max_seq_length: 128}
model: {model_name_or_path: bert}
train: {seed: 42, per_device_eval_batch_size: 32}
)";
  const size_t position = yaml.find(from);
  EXPECT_NE(position, std::string::npos) << from;
  return yaml.replace(position, from.size(), to);
}

class ImportTest : public ImportedTest {
 protected:
  ImportedExperiment import_file(const fs::path& file) {
    return import_outlier_suppression(file, {"", "", all_plugins().models.names()});
  }
  ImportedExperiment import_text(const std::string& yaml) {
    return import_file(folder_.write("config.yaml", yaml));
  }
  ExperimentSpec load_file(const std::string& name) { return load(import_file(config(name))); }
  void expect_refused(const std::string& yaml, const std::string& message) {
    EXPECT_THAT(message_of<ConfigError>([&] { import_text(yaml); }), HasSubstr(message)) << yaml;
  }
};

TEST_F(ImportTest, WholeMethod) {
  const ImportedExperiment imported = import_file(config("twc_fine_gamma/cola.yaml"));
  const ExperimentSpec spec = load(imported);
  EXPECT_EQ(spec.name, "cola-w6a6-twc-fine-gamma");
  EXPECT_EQ(spec.seed, 42u);
  EXPECT_THAT(steps(spec), ElementsAre("gamma_migration", "token_wise_clipping", "learn_scales"));
  EXPECT_EQ(spec.calibration.samples, 256);
  EXPECT_EQ(spec.calibration.pad_to, 128);
  EXPECT_EQ(spec.calibration.padding, Padding::kDrop);
  EXPECT_THAT(imported.yaml, HasSubstr("name: cola, path: DATA, max_length: 128, batch_size: 32"));
  EXPECT_THAT(imported.yaml, HasSubstr("gamma_migration: {epsilon: 1.0e-5}"));
  EXPECT_THAT(imported.yaml, HasSubstr("learn_scales: {epochs: 3, learning_rate: 1.0e-05}"));

  const SitePlan weight = plan_of(spec, "weight:encoder.0.attention.query");
  EXPECT_TRUE(weight.quantize && weight.spec.symmetric);
  EXPECT_EQ(weight.spec.bits, 6);
  EXPECT_EQ(weight.spec.granularity, Granularity::kChannel);
  EXPECT_EQ(weight.spec.axis, 0);
  EXPECT_EQ(weight.observer.name(), "minmax");
  EXPECT_EQ(weight.quantizer.name(), "fixed");
  const SitePlan activation = plan_of(spec, "activation:encoder.0.ffn.gelu");
  EXPECT_TRUE(activation.quantize && !activation.spec.symmetric);
  EXPECT_EQ(activation.spec.granularity, Granularity::kTensor);
  EXPECT_EQ(activation.observer.name(), "prune_minmax");
  EXPECT_EQ(activation.quantizer.name(), "lsq_plus");
  // Nodes that the published code observes without clipping.
  for (const char* exempt : {"activation:encoder.0.attention.probs", "activation:pooler.input"}) {
    EXPECT_EQ(plan_of(spec, exempt).observer.name(), "avg_minmax") << exempt;
    EXPECT_EQ(plan_of(spec, exempt).quantizer.name(), "lsq_plus") << exempt;
  }
}

TEST_F(ImportTest, ShippedExperimentsAreThePublishedOnes) {
  const std::vector<std::string> tasks = {"cola", "sst2", "mrpc", "stsb",
                                          "qqp",  "mnli", "qnli", "rte"};
  for (const std::string& task : tasks) {
    const ExperimentSpec imported = load_file("twc_fine_gamma/" + task + ".yaml");
    const ExperimentSpec shipped =
        load_experiment(source_folder() / "experiments/outlier_suppression/glue" / (task + ".yaml"),
                        {"model.path=" + (quickstart() / "model").string(),
                         "task.path=" + (quickstart() / "data").string()},
                        all_plugins());
    EXPECT_EQ(imported.name, shipped.name);
    EXPECT_EQ(to_yaml(to_node(imported.calibration)), to_yaml(to_node(shipped.calibration)));
    const ConfigNode ours = to_node(imported), theirs = to_node(shipped);
    for (const char* key : {"seed", "task", "pipeline", "stages"}) {
      EXPECT_EQ(to_yaml(*ours.find(key)), to_yaml(*theirs.find(key))) << task;
    }
  }
}

TEST_F(ImportTest, Baselines) {
  const std::map<std::string, std::string> observers = {
      {"minmax", "avg_minmax"}, {"mse", "avg_mse_fast"}, {"quantile", "quantile"}};
  for (const auto& [name, observer] : observers) {
    const ImportedExperiment imported = import_file(config(name + ".yaml"));
    const ExperimentSpec spec = load(imported);
    EXPECT_THAT(steps(spec), ElementsAre("calibrate")) << name;
    for (const char* site :
         {"activation:embeddings.norm", "activation:encoder.0.attention.probs"}) {
      EXPECT_EQ(plan_of(spec, site).observer.name(), observer) << site;
      EXPECT_EQ(plan_of(spec, site).quantizer.name(), "fixed") << site;
    }
  }
}

TEST_F(ImportTest, EveryKeyIsUnderstoodOrReported) {
  const ImportedExperiment imported = import_file(config("all_keys.yaml"));
  EXPECT_EQ(notes(imported, ImportNote::Kind::kUnknown), "");
  const std::string ignored = notes(imported, ImportNote::Kind::kNoEffect);
  for (const char* key : {"model.use_auth_token", "data.doc_stride", "data.num_beams",
                          "train.learning_rate", "train.output_dir", "progress.log_level"}) {
    EXPECT_THAT(ignored, HasSubstr(key));
  }
  const std::string to_set = notes(imported, ImportNote::Kind::kToSet);
  EXPECT_THAT(to_set, HasSubstr("/nowhere/bert-base-cola"));
  EXPECT_THAT(to_set, HasSubstr("--set task.path"));
  EXPECT_THAT(to_set, Not(HasSubstr("not there yet")));
}

TEST_F(ImportTest, UnknownKeys) {
  const ImportedExperiment imported = import_text(
      edited("  calibrate: 256", "  calibrate: 256\n  is_remove_paddin: False") + "progres: {}\n");
  const std::string unknown = notes(imported, ImportNote::Kind::kUnknown);
  EXPECT_THAT(unknown, HasSubstr("config.yaml:3:3: quant.is_remove_paddin; did you mean"));
  EXPECT_THAT(unknown, HasSubstr("\"is_remove_padding\""));
  EXPECT_THAT(unknown, HasSubstr("config.yaml:10:1: progres; did you mean \"progress\"?"));
}

TEST_F(ImportTest, OptionsOfTheMethod) {
  const auto text = [&](const std::string& from, const std::string& to) {
    const ImportedExperiment imported = import_text(edited(from, to));
    load(imported);
    return imported.yaml + "\n" + to_text(imported.notes);
  };
  const std::string line = "  calibrate: 256";
  EXPECT_THAT(text(line, line + "\n  backend: tensorrt"),
              HasSubstr("placements/outlier_suppression_tensorrt.yaml"));
  EXPECT_THAT(text(line, line + "\n  iters: 20\n  step: 0.005"),
              HasSubstr("token_wise_clipping: {iterations: 20, step: 0.005}"));
  EXPECT_THAT(text(line, line + "\n  learn: {lr: 0.001, epoch: 5}"),
              HasSubstr("learn_scales: {epochs: 5, learning_rate: 0.001}"));
  EXPECT_THAT(text(line, line + "\n  is_remove_padding: no"),
              HasSubstr("{samples: 256, padding: keep, pad_to: 128}"));
  EXPECT_THAT(text("max_seq_length: 128", "max_seq_length: 64, pad_to_max_length: False"),
              HasSubstr("calibration: {samples: 256}"));
  EXPECT_THAT(text("delay: True", "delay: False"), Not(HasSubstr("gamma")));
  EXPECT_THAT(text("LSQPlusFakeQuantize", "FixedFakeQuantize"), Not(HasSubstr("learn_scales")));
  EXPECT_THAT(text("AvgPruneMinMax", "EMAPruneMinMax"), HasSubstr("equal-weight"));
  EXPECT_THAT(text("bit: 6", "bit: 5"), HasSubstr("8, 6 and 4 bits"));
  EXPECT_THAT(text("FixedFakeQuantize, observer: MinMaxObserver",
                   "LSQFakeQuantize, observer: LSQPlusObserver"),
              HasSubstr("observer: lsq_init, quantizer: lsq"));
  EXPECT_THAT(text("ch_axis: 0", "ch_axis: -1"), HasSubstr("symmetric: true, granularity: tensor"));
  EXPECT_THAT(text("seed: 42", "seed: 7, do_train: True"), HasSubstr("seed: 7"));
  EXPECT_THAT(text("AvgPruneMinMaxObserver", "AvgMinMaxObserver"), HasSubstr("- calibrate"));
  EXPECT_THAT(text("path: bert", "path: bart-base"),
              HasSubstr("include: placements/outlier_suppression_bart_classification.yaml"));
  EXPECT_THAT(text("data: {task_name: cola", "data: {max_eval_samples: 9, task_name: CoLA"),
              HasSubstr("data.max_eval_samples 9"));
}

TEST_F(ImportTest, QuestionsAndSummaries) {
  const auto text = [&](const std::string& name) {
    const ImportedExperiment imported =
        import_file(config(fmt::format("twc_fine_gamma/{}.yaml", name)));
    load(imported);  // an experiment as good as one that was written by hand
    return imported.yaml;
  };
  for (const char* name : {"squad_v1", "squad_v2"}) {
    const std::string yaml = text(name);
    EXPECT_THAT(yaml, HasSubstr("type: squad"));
    EXPECT_THAT(yaml, HasSubstr(std::string("version_2: ") +
                                (name == std::string("squad_v2") ? "true" : "false")));
    EXPECT_THAT(yaml, HasSubstr("max_length: 384\n  doc_stride: 128"));
    EXPECT_THAT(yaml, HasSubstr("pad_to: 384"));
    EXPECT_THAT(yaml, HasSubstr("placements/outlier_suppression_qa.yaml"));
    EXPECT_THAT(yaml, HasSubstr("targets: transformed"));
  }
  for (const char* name : {"xsum", "cnn_dailymail"}) {
    const std::string yaml = text(name);
    EXPECT_THAT(yaml, HasSubstr(fmt::format("type: summarization\n  name: {}", name)));
    EXPECT_THAT(yaml, HasSubstr("max_source_length: 1024\n"));
    EXPECT_THAT(yaml, HasSubstr(std::string("num_beams: ") + (name[0] == 'x' ? "6" : "4")));
    EXPECT_THAT(yaml, HasSubstr("pad_to: 1024"));
    EXPECT_THAT(yaml, HasSubstr("placements/outlier_suppression_bart.yaml"));
  }
  expect_refused(edited("task_name: cola", "dataset_name: squat"),
                 "data.dataset_name: unknown \"squat\"");
}

TEST_F(ImportTest, Mistakes) {
  expect_refused(edited("  calibrate: 256\n", ""), "quant.calibrate: missing");
  expect_refused(edited("calibrate: 256", "calibrat: 256"),
                 "config.yaml:2:3: quant.calibrat: unknown key; did you mean \"calibrate\"?");
  expect_refused(edited("calibrate: 256", "calibrate: many"),
                 "config.yaml:2:14: quant.calibrate: expected an integer, found \"many\"");
  expect_refused(edited("bit: 6", "bit: 40"), "quant.a_qconfig.bit: must be in [2, 16]");
  expect_refused(edited("delay: True", "delay: Truee"), "quant.ln.delay");
  expect_refused(edited("LSQPlusFakeQuantize", "LSQPlusFakeQuantise"),
                 "did you mean \"LSQPlusFakeQuantize\"?");
  expect_refused(edited("AvgPruneMinMaxObserver", "Unheard"), "known: MinMaxObserver");
  expect_refused(edited("ch_axis: -1", "ch_axis: 0"), "one scale per tensor");
  expect_refused(edited("task_name: cola", "task_name: colla"), "did you mean \"cola\"?");
  expect_refused(edited("task_name: cola, ", ""), "data.task_name: missing");
  expect_refused(edited("cola", "rte, is_regression: True"), "data.is_regression");
  expect_refused(edited("  calibrate: 256", "  calibrate: 256\n  backend: trt"), "quant.backend");
  expect_refused(edited("model: {model_name_or_path: bert}", ""), "model: missing");
  expect_refused(edited("ln: {delay: True}", "ln: {delay: True"), "not valid YAML");
  expect_refused("- a list\n", "found a list");
  expect_refused("", "quant: missing");
  expect_refused("root: absent.yaml\n", "config.yaml:1:7: root: no file \"absent.yaml\"");
  expect_refused("root: config.yaml\n", "was read already");
  expect_refused("root: [a, b]\n", "expected a file, found a list");
  EXPECT_THAT(message_of<ConfigError>([&] { import_file(folder_ / "absent.yaml"); }),
              HasSubstr("absent.yaml"));
}

TEST_F(ImportTest, AModelFolderIsFound) {
  const std::string model = (quickstart() / "model").string();
  const ImportedExperiment imported =
      import_text(edited("model_name_or_path: bert", "model_name_or_path: " + model));
  EXPECT_THAT(imported.yaml, HasSubstr("model: {path: " + model + "}"));
  EXPECT_THAT(notes(imported, ImportNote::Kind::kToSet), Not(HasSubstr("model.path")));
}

TEST_F(ImportTest, Program) {
  const std::string file = config("minmax.yaml").string();
  const ProgramResult shown = quell({"import", file, "--model", "a folder", "--data", "yes"});
  EXPECT_EQ(shown.exit_code, 0) << shown.errors;
  EXPECT_THAT(shown.output, HasSubstr("model: {path: \"a folder\"}"));
  EXPECT_THAT(shown.output, HasSubstr("path: \"yes\""));
  EXPECT_THAT(shown.errors, HasSubstr("keys without an effect in quell"));

  const ProgramResult written = quell({"import", file, "--output", "mine.yaml"});
  EXPECT_EQ(written.exit_code, 0) << written.errors;
  EXPECT_EQ(written.output, "");
  const std::string yaml = read_file(folder_ / "mine.yaml");
  EXPECT_EQ(quell({"import", file, "--output", "mine.yaml"}).exit_code, kConfigurationError);
  const auto json = nlohmann::json::parse(
      quell({"import", file, "--output", "mine.yaml", "--overwrite", "--json"}).output);
  EXPECT_EQ(json["experiment"], yaml);
  EXPECT_EQ(json["notes"][0]["kind"], "no_effect");

  EXPECT_EQ(folder_.partial_files(), 0);
}

}  // namespace
}  // namespace quell

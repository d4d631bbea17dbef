// Command lines of the Qualcomm code become experiments that load and say what they said.
#include <gmock/gmock.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sstream>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/import/qualcomm.h"
#include "framework/import/qualcomm_command.h"
#include "framework/import/qualcomm_nodes.h"
#include "tests/integration/imported.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ImportCommandTest : public ImportedTest {
 protected:
  static constexpr const char* kBase =
      "main.py validate-quantized --qmethod symmetric_uniform --qmethod-act asymmetric_uniform "
      "--act-quant-method current_minmax --no-pad-to-max-length --est-ranges-no-pad "
      "--est-ranges-batch-size 1 --task sst2 ";

  ImportedExperiment import_command(const std::string& command) {
    return import_qualcomm(published::shell_words(command), {"", "", all_plugins().models.names()});
  }
  // With more options.
  ImportedExperiment more(const std::string& options) { return import_command(kBase + options); }
  SitePlan plan(const ImportedExperiment& imported, const std::string& key) {
    return plan_of(load(imported), key);
  }
  void expect_refused(const std::string& options, const std::string& message) {
    EXPECT_THAT(message_of<ConfigError>([&] { more(options); }), HasSubstr(message)) << options;
  }
};

TEST_F(ImportCommandTest, Baseline) {
  const ImportedExperiment imported =
      more("--n-bits 8 --n-bits-act 6 --eval-batch-size 16 --seed 1001 --num-est-batches 3");
  const ExperimentSpec spec = load(imported);
  EXPECT_EQ(spec.name, "sst2-w8a6-current-minmax");
  EXPECT_EQ(spec.seed, 1001u);
  EXPECT_EQ(spec.calibration.samples, 3);
  EXPECT_EQ(spec.calibration.batch_size, 1);
  EXPECT_EQ(spec.calibration.padding, Padding::kDrop);
  EXPECT_THAT(steps(spec), ElementsAre("calibrate"));
  EXPECT_THAT(imported.yaml, HasSubstr("name: sst2, path: DATA, max_length: 128, batch_size: 16"));
  const SitePlan weight = plan(imported, "weight:encoder.0.ffn.norm");
  EXPECT_TRUE(weight.quantize && weight.spec.symmetric);
  EXPECT_EQ(weight.spec.grid, kernels::Grid::kQualcomm);
  EXPECT_EQ(weight.spec.bits, 8);
  const SitePlan activation = plan(imported, "activation:encoder.0.attention.scores");
  EXPECT_TRUE(activation.quantize && !activation.spec.symmetric);
  EXPECT_EQ(activation.spec.bits, 6);
  EXPECT_EQ(activation.observer.name(), "current_minmax");
  EXPECT_EQ(activation.during_calibration, DuringCalibration::kObserveAndQuantize);
}

TEST_F(ImportCommandTest, EstimatorsAndSwitches) {
  const auto text = [&](const std::string& options) {
    const ImportedExperiment imported = more(options);
    load(imported);
    return imported.yaml;
  };
  EXPECT_THAT(text("--weight-quant-method MSE --weight-opt-method golden_section"),
              HasSubstr("granularity: tensor, observer: {type: summed_mse, search: brent}"));
  EXPECT_THAT(text("--weight-quant-method=MSE --num-candidates=50 --per-channel"),
              HasSubstr("channel, axis: 0, observer: {type: summed_mse, candidates: 50}"));
  EXPECT_THAT(text("--act-quant-method running_minmax --act-momentum 0.5"),
              HasSubstr("observer: {type: ema_minmax, momentum: 0.5}"));
  EXPECT_THAT(text("--act-quant-method allminmax"), HasSubstr("observer: minmax}"));
  EXPECT_THAT(text("--act-quant-method MSE --act-num-candidates 9"),
              HasSubstr("symmetric: false, observer: {type: summed_mse, candidates: 9}"));
  EXPECT_THAT(text("--percentile 0.5"),
              HasSubstr("{type: current_minmax, percentile: 0.5, sides: low}"));
  EXPECT_THAT(text("--no-act-quant"), HasSubstr("\"activation:*\", quantize: false"));
  EXPECT_THAT(text("--no-weight-quant"), HasSubstr("\"weight:*\", quantize: false"));
  EXPECT_THAT(text("--quant-setup FP_logits"), HasSubstr("\"group:C\", quantize: false"));
  EXPECT_THAT(text("--quant-setup MSE_logits --cross-entropy-layer classifier"),
              HasSubstr("\"group:C\", observer: {type: cross_entropy, search: brent}"));
  EXPECT_THAT(text("--est-ranges-pad --max-seq-length 64"),
              HasSubstr("{samples: 1, batch_size: 1, padding: keep, pad_to: 64}"));
  EXPECT_THAT(import_command("main.py validate-baseline --task rte").yaml,
              HasSubstr("name: rte-float"));
}

TEST_F(ImportCommandTest, Nodes) {
  const ImportedExperiment imported = more(
      "--quant-dict \"{'y': 16, \\\"x\\\": 16, 'L0': 6, 'Et': 4, 'wP': 5, 's': 'fp32', 'z': "
      "None}\"");
  EXPECT_EQ(plan(imported, "activation:encoder.1.ffn.residual").spec.bits, 16);
  EXPECT_EQ(plan(imported, "activation:encoder.1.attention.norm").spec.bits, 16);
  // A whole layer comes last.
  EXPECT_EQ(plan(imported, "activation:encoder.0.ffn.residual").spec.bits, 6);
  EXPECT_EQ(plan(imported, "activation:encoder.1.ffn.norm").spec.bits, 8);
  EXPECT_EQ(plan(imported, "weight:embeddings.word").spec.bits, 4);
  EXPECT_EQ(plan(imported, "weight:embeddings.word").observer.name(), "summed_mse");
  EXPECT_EQ(plan(imported, "weight:embeddings.position").observer.name(), "current_minmax");
  EXPECT_EQ(plan(imported, "activation:pooler.output").spec.bits, 5);
  EXPECT_EQ(plan(imported, "weight:pooler.dense").spec.bits, 8);
  EXPECT_FALSE(plan(imported, "activation:encoder.1.attention.scores").quantize);
  EXPECT_THAT(notes(imported, ImportNote::Kind::kDifference), HasSubstr("'wP' changes"));
}

TEST_F(ImportCommandTest, GroupsOfFeatures) {
  const auto groups = [&](const std::string& options, const std::string& key) {
    const SitePlan site = plan(more(options), key);
    return site.spec.granularity == Granularity::kFeatureGroups ? site.spec.groups : 0;
  };
  const std::string residual = "activation:encoder.0.ffn.residual";
  EXPECT_EQ(groups("--per-groups 6", residual), 6);
  EXPECT_EQ(groups("--per-groups 6", "activation:encoder.0.ffn.gelu"), 0);
  EXPECT_EQ(groups("--quant-dict \"{'y': 'ng3'}\"", residual), 3);
  EXPECT_EQ(groups("--quant-dict \"{'y': 'ng3'}\"", "activation:encoder.0.ffn.output"), 0);
  const SitePlan feature = plan(more("--per-embd"), "activation:pooler.output");
  EXPECT_EQ(feature.spec.granularity, Granularity::kChannel);
  EXPECT_EQ(feature.spec.axis, 1);

  const auto pipeline = [&](const std::string& options) {
    const ImportedExperiment imported = more(options);
    load(imported);
    return imported.yaml.substr(imported.yaml.find("pipeline:"));
  };
  const std::string nodes = "--quant-dict \"{'y': 'ngp6', 'h': 'ngp6', 'x': 'ngp6'}\" ";
  EXPECT_EQ(pipeline("--per-groups 6"), "pipeline: [calibrate]\n");
  EXPECT_EQ(pipeline(nodes + "--per-groups-permute-shared-h"),
            "pipeline:\n"
            "  - permute_groups: {network: published, batches: 10, shared: layer}\n"
            "  - calibrate: {first_batch: 10}\n");
  EXPECT_THAT(more(nodes + "--per-groups-permute").yaml,
              HasSubstr("calibration: {samples: 11, batch_size: 1}"));
  EXPECT_THAT(pipeline("--quant-dict \"{'y': 'ngp6', 'h1': 'ng6'}\" --per-groups-permute"),
              HasSubstr("sites: [\"activation:encoder.*.ffn.residual\"]}"));
  // What the published code does without an option that permutes.
  const ImportedExperiment never = more(nodes);
  EXPECT_FALSE(plan(never, residual).quantize);
  EXPECT_THAT(notes(never, ImportNote::Kind::kDifference),
              HasSubstr("give that option to get permuted groups"));
  EXPECT_THAT(notes(more(nodes + "--per-groups-permute --act-quant-method running_minmax"),
                    ImportNote::Kind::kDifference),
              HasSubstr("it ignores permutations"));
}

TEST_F(ImportCommandTest, LettersAreTheGroupsOfThePlacement) {
  const ConfigNode file = [] {
    Problems problems;
    return load_yaml(source_folder() / "experiments/placements/qualcomm.yaml", problems);
  }();
  const ConfigNode& groups = *file.find("groups");
  EXPECT_EQ(groups.children.size(), published::quant_nodes().size());
  for (const published::QuantNode& node : published::quant_nodes()) {
    const ConfigNode* group = groups.find(std::string(node.letter));
    ASSERT_NE(group, nullptr) << node.letter;
    ASSERT_EQ(group->children.size(), 1u);
    EXPECT_EQ(group->children[0].text, node.pattern);
  }
}

// The command of the published README.
TEST_F(ImportCommandTest, LearnedRounding) {
  const ImportedExperiment imported = more(
      "--weight-quant --no-act-quant --n-bits 4 --weight-quant-method MSE --weight-opt-method "
      "grid --num-candidates 100 --adaround all --adaround-num-samples 1024 --adaround-init "
      "range_estimator --adaround-mode learned_hard_sigmoid --adaround-asym --adaround-iters "
      "10000 --adaround-act-quant no_act_quant --batch-size 16");
  const ExperimentSpec spec = load(imported);
  EXPECT_EQ(spec.calibration.samples, 1024);
  EXPECT_THAT(steps(spec), ElementsAre("calibrate", "adaround"));
  EXPECT_THAT(imported.yaml,
              HasSubstr("adaround: {loss: batches, grid: calibrated, asymmetric: true, "
                        "include_nonlinearity: true, batch_size: 16, iterations: 10000"));
  EXPECT_EQ(plan(imported, "weight:encoder.0.ffn.norm").quantizer.name(), "adaround");
  EXPECT_FALSE(plan(imported, "activation:encoder.0.ffn.norm").quantize);
  EXPECT_THAT(notes(imported, ImportNote::Kind::kDifference), HasSubstr("padded to 128"));

  const ImportedExperiment some = more(
      "--adaround \"bert.encoder.layer.1.intermediate.0, classifier\" --adaround-init mse_out "
      "--adaround-mode sigmoid_temp_decay --no-adaround-asym --adaround-no-act-func "
      "--adaround-annealing 10 1 --adaround-decay-type linear --adaround-warmup 0.1 "
      "--adaround-lr 1e-2 --adaround-weight 0.1 --num-est-batches 2");
  EXPECT_THAT(steps(load(some)), ElementsAre("calibrate", "adaround", "calibrate"));
  EXPECT_THAT(some.yaml, HasSubstr("calibrate: {sites: \"activation:*\", batches: 2}"));
  EXPECT_THAT(some.yaml,
              HasSubstr("grid: mse_out, asymmetric: false, include_nonlinearity: false"));
  EXPECT_THAT(some.yaml,
              HasSubstr("learning_rate: 0.01, regularizer: 0.1, warmup: 0.1, beta_start: 10.0, "
                        "beta_end: 1.0, decay: linear, relaxation: temperature_sigmoid"));
  EXPECT_EQ(plan(some, "weight:encoder.1.ffn.intermediate").quantizer.name(), "adaround");
  EXPECT_EQ(plan(some, "weight:classifier").quantizer.name(), "adaround");
  EXPECT_EQ(plan(some, "weight:encoder.0.ffn.intermediate").quantizer.name(), "fixed");
  EXPECT_TRUE(plan(some, "activation:encoder.0.ffn.norm").quantize);
  EXPECT_THAT(notes(more("--no-weight-quant --adaround all"), ImportNote::Kind::kNoEffect),
              HasSubstr("--adaround: only of validate-quantized"));
}

// Every module with a weight that the tables of published names know is found.
TEST_F(ImportCommandTest, LayersAreSites) {
  int found = 0;
  for (const auto& [table, head] : {std::pair("bert", "classifier"), {"roberta", "classifier"}}) {
    std::istringstream lines(
        read_file(source_folder() / "models/published" / fmt::format("{}.qualcomm.txt", table)));
    std::string site, module;
    const std::string suffix = ".weight_quantizer";
    while (lines >> site >> module) {
      if (!site.starts_with("weight:") || site.find("qa_outputs") != std::string::npos) continue;
      const auto numbered = [](std::string text) {
        const size_t place = text.find("{}");
        return place == std::string::npos ? text : text.replace(place, 2, "11");
      };
      module.resize(module.size() - suffix.size());
      EXPECT_EQ("weight:" + published::weight_site_of(numbered(module)), numbered(site));
      ++found;
    }
  }
  EXPECT_GE(found, 28);
  for (const char* none : {"bert.encoder.layer.x.intermediate.0", "bert.encoder.layer.3", "bert.",
                           "bert.encoder.layer.3.attention", "", "roberta.embeddings.x"}) {
    EXPECT_EQ(published::weight_site_of(none), "") << none;
  }
}

TEST_F(ImportCommandTest, Training) {
  const std::string base =
      "main.py train-quantized --task rte --qmethod symmetric_uniform --qmethod-act "
      "asymmetric_uniform --n-bits 4 --n-bits-act 8 --weight-quant-method MSE --weight-opt-method "
      "golden_section --act-quant-method current_minmax --est-ranges-batch-size 16 "
      "--quant-dict \"{'Et': 2}\" --batch-size 8 --learning-rate 5e-05 --num-epochs 6 "
      "--warmup-steps 186 --weight-decay 0.0 ";
  const ImportedExperiment imported =
      import_command(base + "--learn-ranges --attn-dropout 0.0 --hidden-dropout 0.0");
  EXPECT_THAT(steps(load(imported)), ElementsAre("calibrate", "qat"));
  // 2,490 examples are 312 steps of 8.
  EXPECT_THAT(imported.yaml,
              HasSubstr("epochs: 6, batch_size: 8, learning_rate: 5.0e-05, schedule: "
                        "linear, warmup: 0.0993"));
  EXPECT_THAT(imported.yaml, HasSubstr("follow: none, dropout: 0.0}"));
  EXPECT_EQ(plan(imported, "weight:embeddings.word").spec.bits, 2);
  EXPECT_EQ(plan(imported, "weight:embeddings.word").quantizer.name(), "learned_range");
  EXPECT_EQ(plan(imported, "activation:encoder.0.ffn.norm").quantizer.name(), "learned_range");
  EXPECT_THAT(notes(imported, ImportNote::Kind::kDifference), HasSubstr("1872 with the 2490"));

  EXPECT_THAT(import_command(base + "--fix-weight-ranges --max-grad-norm 1").yaml,
              HasSubstr("max_gradient_norm: 1.0, follow: activations}"));
  EXPECT_THAT(import_command(base).yaml, HasSubstr("max_gradient_norm: 0.0, follow: all}"));
  EXPECT_THAT(notes(import_command(base + "--attn-dropout 0.2"), ImportNote::Kind::kDifference),
              HasSubstr("--attn-dropout: dropout of attention has no rate of its own"));
  const ImportedExperiment scores = import_command(
      "main.py train-quantized --task stsb --qmethod symmetric_uniform --weight-decay 0.1 "
      "--save-model");
  load(scores);
  EXPECT_THAT(scores.yaml, testing::AllOf(HasSubstr("batch_size: 8, clamp_scores: true}"),
                                          HasSubstr("decayed: published"), HasSubstr("model: true"),
                                          HasSubstr("follow: all, clamp_scores: true}")));
  const ImportedExperiment baseline =
      import_command("main.py train-baseline --task rte --learning-rate 3e-05 --batch-size 8");
  EXPECT_THAT(steps(load(baseline)), ElementsAre("qat"));
  EXPECT_THAT(baseline.yaml, HasSubstr("qat: {quantize: false, epochs: 3, batch_size: 8"));
}

TEST_F(ImportCommandTest, EveryOptionIsUnderstoodOrReported) {
  const ImportedExperiment imported = more(
      "--cuda --num-workers 4 --tqdm --gamma 0.1 --adaround-annealing 20 2 --learning-rate 1e-5 "
      "--save-attn --run-name x --tb --double --num-val-samples 9 --attn-dropout 0.1");
  const std::string ignored = notes(imported, ImportNote::Kind::kNoEffect);
  for (const char* option : {"--cuda, --num-workers", "--tqdm, --run-name", "--gamma, --save-attn",
                             "--adaround-annealing: only together with --adaround",
                             "--attn-dropout, --learning-rate: of train-quantized",
                             "--double: everything is computed in float32"}) {
    EXPECT_THAT(ignored, HasSubstr(option));
  }
  EXPECT_THAT(notes(imported, ImportNote::Kind::kDifference), HasSubstr("--num-val-samples"));
  EXPECT_THAT(notes(imported, ImportNote::Kind::kToSet), HasSubstr("--set task.path"));
  EXPECT_THAT(notes(more("--model-name roberta_base --quant-setup FP_logits --per-embd "
                         "--quant-dict \"{'y': 16}\""),
                    ImportNote::Kind::kNoEffect),
              testing::AllOf(HasSubstr("--quant-setup FP_logits: of BERT alone"),
                             HasSubstr("--per-embd, --per-groups: of BERT alone"),
                             HasSubstr("--quant-dict: of BERT alone")));
}

TEST_F(ImportCommandTest, Mistakes) {
  expect_refused("--n-bitss 4", "--n-bitss: unknown option; did you mean --n-bits?");
  expect_refused("--n-bits four", "--n-bits: expected a number, found \"four\"");
  expect_refused("--n-bits 40", "--n-bits: must be in [2, 16], found 40");
  expect_refused("--n-bits", "--n-bits: its value is missing");
  expect_refused("--n-bits 8 more", "more: expected an option");
  expect_refused("--act-quant-method minmax", "unknown \"minmax\"; known: current_minmax");
  expect_refused("--task rte", "--task: an experiment has one task");
  expect_refused("--model-name albert_base_v2", "--model-name: unknown");
  expect_refused("--model-name mobilebert_uncased", "MobileBERT are not imported");
  expect_refused("--per-token", "`granularity: token`");
  expect_refused("--dynamic", "--dynamic: ranges that follow every batch");
  expect_refused("--adaround bert.encoder.layer.0.query",
                 "--adaround: no layer with a weight is called \"bert.encoder.layer.0.query\"");
  expect_refused("--adaround ,", "--adaround: expected `all`");
  expect_refused("--adaround all --adaround-decay-type log", "known: cosine, linear");
  expect_refused("--adaround all --adaround-decay-start 0.1", "leave it out");
  expect_refused("--adaround all --adaround-annealing 20", "--adaround-annealing: its value");
  expect_refused("--act-momentum 0.9", "--act-momentum: is for --act-quant-method running_minmax");
  expect_refused("--num-candidates 9", "--num-candidates: is for");
  expect_refused("--per-groups 4 --per-groups-permute-shared-h", "--per-groups-permute-shared-h");
  expect_refused("--cross-entropy-layer bert.embeddings",
                 "add a rule with `observer: cross_entropy`");
  const auto nodes = [](const std::string& text) { return "--quant-dict \"" + text + "\""; };
  expect_refused(nodes("{'q': 16}"),
                 "unknown node \"q\"; known: e, Et, s, p, c, g, u, x, h, y, z, L");
  expect_refused(nodes("{'P3': 16}"), "unknown node \"P3\"");
  expect_refused(nodes("{'y': 'ngx'}"), "--quant-dict: y: expected bits from 2 to 16");
  expect_refused(nodes("{'y': 32}"), "--quant-dict: y: expected bits from 2 to 16");
  expect_refused(nodes("{'p': 'ng4'}"), "found for attention probabilities");
  expect_refused(nodes("{'L': 'per_embd'}"), "found for all nodes of a layer");
  expect_refused(nodes("{'y' 16}"), "expected a dictionary");
  expect_refused(nodes("y=16"), "expected a dictionary");
  const auto training = [&](const std::string& options) {
    return message_of<ConfigError>(
        [&] { import_command("main.py train-quantized --qmethod symmetric_uniform " + options); });
  };
  EXPECT_THAT(training("--max-steps 9"), HasSubstr("say --num-epochs"));
  EXPECT_THAT(training("--gradient-accumulation-steps 2"), HasSubstr("multiply --batch-size"));
  EXPECT_THAT(training("--hidden-dropout 0.1"), HasSubstr("say both"));
  EXPECT_THAT(message_of<ConfigError>([&] { import_command("--n-bits 40 --act-quant-method x"); }),
              testing::AllOf(HasSubstr("--qmethod: missing"), HasSubstr("--n-bits: must"),
                             HasSubstr("--act-quant-method: unknown")));
  EXPECT_THAT(message_of<ConfigError>([&] { published::shell_words("--quant-dict \"{"); }),
              HasSubstr("not closed"));
}

TEST_F(ImportCommandTest, AModelFolderIsFound) {
  const std::string name = "models/sst2/run/out/config.json";
  folder_.write(name, "{\"model_type\": \"bert\"}");
  EXPECT_THAT(more("--model-path " + (folder_ / "models").string()).yaml,
              HasSubstr("model: {path: " + (folder_ / "models/sst2/run/out").string() + "}"));
}

TEST_F(ImportCommandTest, Program) {
  const std::vector<std::string> words = {
      "--",           "python",   "main.py", "validate-quantized", "--qmethod", "symmetric_uniform",
      "--quant-dict", "{'y': 16}"};
  std::vector<std::string> arguments = {"import", "--model", "m", "--data", "d"};
  arguments.insert(arguments.end(), words.begin(), words.end());
  const ProgramResult shown = quell(arguments);
  EXPECT_EQ(shown.exit_code, 0) << shown.errors;
  EXPECT_THAT(shown.output, HasSubstr("{sites: \"group:y\", bits: 16}"));
  folder_.write(
      "run.sh",
      "#!/bin/sh\n# at 8 bits\npython main.py validate-quantized \\\n"
      "  --qmethod symmetric_uniform --quant-dict \"{'y': 16}\" \\\n  --seed 7  # here\n");
  const ProgramResult file = quell({"import", "run.sh"});
  EXPECT_EQ(file.exit_code, 0) << file.errors;
  EXPECT_THAT(file.output, HasSubstr("seed: 7"));
  folder_.write("bad.sh", "main.py validate-quantized --qmethod symmetric");
  const ProgramResult bad = quell({"import", "bad.sh"});
  EXPECT_EQ(bad.exit_code, kConfigurationError);
  EXPECT_THAT(bad.errors, HasSubstr("bad.sh: --qmethod: unknown \"symmetric\""));
  EXPECT_EQ(quell({"import", "one.yaml", "two.yaml"}).exit_code, kConfigurationError);
  EXPECT_EQ(quell({"import"}).exit_code, kConfigurationError);
}

}  // namespace
}  // namespace quell

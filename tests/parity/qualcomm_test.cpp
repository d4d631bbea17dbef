// The published code of Bondarenko et al. (EMNLP 2021) on its own inputs: which tensors it
// quantizes, the ranges it finds, and the logits that follow.
#include <gtest/gtest.h>

#include <ATen/ops/cat.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using nlohmann::json;

// Each run was also done in float64; sequences whose logits then stay within kStable are well
// conditioned, the others contain a value next to a rounding tie (one flip moves logits by 1e-3 to
// 0.3, and a flip in the calibration sequence moves all). Well-conditioned sequences have to agree
// within kSameLogits; another order of summation may flip one of the 16.
constexpr double kStable = 1e-5;
constexpr double kSameLogits = 1e-4;
constexpr double kFlipped = 0.5;
constexpr double kShareOfStable = 0.9;
// Activation ranges come out of the network. A flipped rounding before a site moves its range by
// about a step of the earlier quantizer.
constexpr double kSameScale = 1e-5;
constexpr double kTie = 1e-3;

// A run of the code, and the rules that say the same here.
struct PublishedRun {
  std::string name;
  std::string calibration = "cal1.{}.input_ids";
  std::string batches = "0";
  std::string rules;  // after the placement
};

const std::string kWeights8 =
    "    - {sites: 'weight:*', bits: 8, symmetric: true, granularity: tensor, observer: minmax}\n";
const std::string kActivations8 =
    "    - {sites: 'activation:*', bits: 8, symmetric: false, observer: minmax}\n";
const std::string kFloatWeights = "    - {sites: 'weight:*', quantize: false}\n";
const std::string kFloatActivations = "    - {sites: 'activation:*', quantize: false}\n";

// Weights float, activations 8 bit, one kind of activation left out.
PublishedRun leave_out(const std::string& kind, const std::string& sites) {
  return {.name = "loo_w32a8_not_" + kind,
          .rules = kFloatWeights + kActivations8 +
                   fmt::format("    - {{sites: 'activation:{}', quantize: false}}\n", sites)};
}

std::vector<PublishedRun> min_max_runs() {
  const std::string both = kWeights8 + kActivations8;
  const auto with = [&](const std::string& rule) { return both + "    - {" + rule + "}\n"; };
  const std::string ema = "sites: 'activation:*', observer: ";
  return {
      {.name = "w8a8_minmax", .rules = both},
      {.name = "w8a8_running4_m05",
       .calibration = "cal4.{}.input_ids",
       .batches = "0-3",
       .rules = with(ema + "{type: ema_minmax, momentum: 0.5}")},
      {.name = "w8a8_syma", .rules = with("sites: 'activation:*', symmetric: true")},
      {.name = "w8a8_perchannel",
       .calibration = "cal4.{}.input_ids",
       .rules = with("sites: 'weight:*', granularity: channel, axis: 0")},
      {.name = "mp_y1_16_wC4",
       .rules = with("sites: 'activation:encoder.1.ffn.residual', bits: 16") +
                "    - {sites: 'activation:encoder.2.*', bits: 6}\n"
                "    - {sites: ['weight:classifier', 'activation:pooler.output'], bits: 4}\n"},
      {.name = "w8a8_running4", .batches = "0-3", .rules = with(ema + "ema_minmax")},
      {.name = "w8a8_allminmax",
       .calibration = "cal4.{}.input_ids",
       .batches = "0-3",
       .rules = both},
      {.name = "w8a8_asymw", .rules = with("sites: 'weight:*', symmetric: false")},
      {.name = "w8a8_fplogits",
       .rules = with("sites: 'activation:classifier.logits', quantize: false")},
      {.name = "w8a32", .rules = kWeights8 + kFloatActivations},
      {.name = "w32a8", .rules = kFloatWeights + kActivations8},
      {.name = "w4a32_minmax",
       .rules = kWeights8 + kFloatActivations + "    - {sites: 'weight:*', bits: 4}\n"},
      {.name = "mp_xhy16",
       .rules = with(
           "sites: 'activation:encoder.*.{attention.norm,ffn.output,ffn.residual}', bits: 16")},
      {.name = "mp_y16", .rules = with("sites: 'activation:encoder.*.ffn.residual', bits: 16")},
      leave_out("C", "classifier.logits"),
      leave_out("P", "pooler.output"),
      leave_out("L0", "encoder.0.*"),
      leave_out("c", "encoder.*.attention.context"),
      leave_out("e", "embeddings.sum_*"),
      leave_out("g", "encoder.*.attention.output"),
      leave_out("h", "encoder.*.ffn.output"),
      leave_out("p", "encoder.*.attention.probs"),
      leave_out("s", "encoder.*.attention.scores"),
      leave_out("u", "encoder.*.attention.residual"),
      leave_out("x", "encoder.*.attention.norm"),
      leave_out("y", "encoder.*.ffn.residual"),
      leave_out("y2", "encoder.2.ffn.residual"),
      leave_out("z", "encoder.*.ffn.norm"),
  };
}

std::filesystem::path data_folder() { return test_data() / "parity/qualcomm"; }
std::filesystem::path all_runs() { return shared_folder() / "goldens/qualcomm/bert_s0"; }

// Where a run is: copied here, or in the full goldens; empty where they are absent.
std::filesystem::path run_file(const std::string& name) {
  for (const auto& folder : {data_folder(), all_runs()}) {
    const auto file = folder / fmt::format("run_{}.json", name);
    if (std::filesystem::exists(file)) return file;
  }
  return {};
}

std::string experiment_yaml(const PublishedRun& run, const std::string& calibrate = "calibrate") {
  return fmt::format(R"(
name: qualcomm
threads: 1
model: {{path: {0}}}
task:
  type: tokens
  path: {0}/inputs.safetensors
  calibration_keys: "{1}"
  evaluation_keys: "eval.{{}}.input_ids"
  calibration_batches: [{2}]
  evaluation_batches: [0-3]
calibration: {{padding: keep}}
quant:
  include: placements/qualcomm.yaml
  rules:
{3}
pipeline: [{4}]
stages: [float, quantized]
record: {{site_errors: false}}
)",
                     data_folder().string(), run.calibration, run.batches, run.rules, calibrate);
}

at::Tensor batches_of(const std::filesystem::path& file, const std::string& prefix) {
  const SafetensorsFile tensors(file);
  std::vector<at::Tensor> parts;
  for (int i = 0; i < 4; ++i) parts.push_back(tensors.read(fmt::format("{}.{}", prefix, i)));
  return at::cat(parts);
}

// What was compared of all runs: not every one has a stable sequence.
struct Compared {
  int runs = 0, tables = 0, sequences = 0;
} compared;

void expect_logits(const Experiment& experiment, const std::filesystem::path& run,
                   const json& golden) {
  std::filesystem::path tensors = run;
  tensors.replace_extension(".safetensors");
  const auto differences =
      row_differences(experiment.logits(Stage::kQuantized), batches_of(tensors, "q_logits"));
  ASSERT_EQ(differences.size(), 16u);
  std::vector<double> conditioning;
  for (const json& batch : golden["float64_rerun_per_sequence_max_abs_diff"]) {
    conditioning.insert(conditioning.end(), batch.begin(), batch.end());
  }
  std::vector<double> stable;
  for (size_t i = 0; i < differences.size(); ++i) {
    EXPECT_LE(differences[i], kFlipped) << "sequence " << i;
    if (conditioning.at(i) < kStable) stable.push_back(differences[i]);
  }
  if (stable.empty()) return;
  compared.sequences += static_cast<int>(stable.size());
  EXPECT_GE(share_within(stable, kSameLogits), kShareOfStable);
}

// Every value of a scalar or vector field of a quantizer.
std::vector<double> values_of(const json& quantizer, const char* field,
                              const SafetensorsFile& vectors) {
  const std::string key = quantizer["name"].get<std::string>() + "." + field;
  if (!vectors.contains(key)) return {quantizer[field].get<double>()};
  const at::Tensor tensor = vectors.read(key).to(at::kDouble).contiguous();
  return {tensor.const_data_ptr<double>(), tensor.const_data_ptr<double>() + tensor.numel()};
}

void expect_quantizer(const SiteRecord& point, const json& quantizer,
                      const SafetensorsFile& vectors) {
  const std::string name = quantizer["name"];
  EXPECT_EQ(point.spec.bits, quantizer["n_bits"].get<int64_t>()) << name;
  EXPECT_EQ(point.spec.symmetric, quantizer["method"] == "symmetric_uniform") << name;
  const QuantParameters& found = point.parameters;
  const auto scale = values_of(quantizer, "delta", vectors);
  const auto min = values_of(quantizer, "xmin", vectors);
  ASSERT_EQ(found.scale.numel(), static_cast<int64_t>(scale.size())) << name;
  for (size_t i = 0; i < scale.size(); ++i) {
    const double found_scale = found.scale.const_data_ptr<float>()[i];
    const double found_zero_point = found.zero_point.const_data_ptr<float>()[i];
    EXPECT_NEAR(found_scale, scale[i], kSameScale * scale[i]) << name;
    EXPECT_NEAR(point.range.min.const_data_ptr<float>()[i], min[i],
                kSameScale * std::abs(min[i]) + 1e-7)
        << name;
    if (point.spec.symmetric) {
      EXPECT_EQ(found_zero_point, 0) << name;
      continue;
    }
    const double exact = quantizer["zero_float"];
    const bool tie = std::abs(exact - std::floor(exact) - 0.5) < kTie;
    EXPECT_NEAR(found_zero_point, quantizer["zero_point"].get<double>(), tie ? 1 : 0) << name;
  }
  if (point.spec.symmetric && quantizer.contains("signed")) {
    EXPECT_EQ(found.levels.low < 0, quantizer["signed"].get<bool>()) << name;
  }
}

class QualcommRun : public testing::TestWithParam<PublishedRun> {
 protected:
  static void TearDownTestSuite() {
    constexpr int kRunsHere = 5, kCertain = 3, kSequences = 16;  // in tests/data
    if (compared.runs < kRunsHere) return;                       // a part was asked for
    EXPECT_GE(compared.tables, kCertain) << "tables of ranges compared";
    EXPECT_GE(compared.sequences, kCertain * kSequences) << "sequences compared closely";
  }
};

TEST_P(QualcommRun, QuantizersRangesAndLogits) {
  const auto file = run_file(GetParam().name);
  if (file.empty()) GTEST_SKIP() << "needs " << all_runs();
  const json golden = read_json_file(file);
  const Experiment experiment(experiment_yaml(GetParam()));

  const at::Tensor expected = batches_of(data_folder() / "inputs.safetensors", "fp_logits");
  EXPECT_LE(max_difference(experiment.logits(Stage::kFloat), expected), float_tolerance(expected));

  std::vector<std::string> names;
  for (const json& quantizer : golden["quantizers"]) {
    if (quantizer["enabled"].get<bool>()) names.push_back(quantizer["name"]);
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(experiment.quantized_names("qualcomm"), names);

  std::filesystem::path beside = file;
  const SafetensorsFile vectors(beside.replace_extension(".safetensors"));
  // Where a calibration sequence itself is next to a tie, ranges may be those of the other side.
  const json& conditioning = golden["float64_rerun_max_abs_diff"];
  const bool certain = std::any_of(conditioning.begin(), conditioning.end(),
                                   [](const json& value) { return value < kStable; });
  for (const json& quantizer : golden["quantizers"]) {
    if (!quantizer["enabled"].get<bool>() || !certain) continue;
    const SiteRecord* point = experiment.point(quantizer["name"]);
    ASSERT_NE(point, nullptr);
    expect_quantizer(*point, quantizer, vectors);
  }
  ++compared.runs;
  compared.tables += certain ? 1 : 0;
  expect_logits(experiment, file, golden);
}

INSTANTIATE_TEST_SUITE_P(Runs, QualcommRun, testing::ValuesIn(min_max_runs()),
                         [](const auto& test) { return test.param.name; });

// The rules that give each site the bits and the granularity of a run, whatever it estimated.
std::string rules_of(const json& golden, const SafetensorsFile& vectors) {
  std::string rules = "    - {sites: ['weight:*', 'activation:*'], quantize: false}\n";
  const QuantizedNetwork network(data_folder(), "{rules: []}");
  for (const json& quantizer : golden["quantizers"]) {
    const std::string name = quantizer["name"];
    if (!quantizer["enabled"].get<bool>()) continue;
    const bool weight = name.ends_with("weight_quantizer");
    const bool vector = vectors.contains(name + ".delta");
    // Without a flag for permutations the code never gives the nodes of its groups a range.
    if (!vector && !quantizer.contains("delta")) continue;
    rules += fmt::format(
        "    - {{sites: '{}', quantize: true, bits: {}, symmetric: {}, granularity: {}, axis: "
        "{}}}\n",
        network.key(name), quantizer["n_bits"].get<int64_t>(),
        quantizer["method"] == "symmetric_uniform", vector ? "channel" : "tensor", weight ? 0 : 1);
  }
  return rules;
}

// Whatever estimator found the ranges (MSE searches, groups of channels, permutations): with the
// published scales and zero points the logits are the published ones.
TEST(Qualcomm, LogitsForGivenRanges) {
  if (!std::filesystem::exists(all_runs())) GTEST_SKIP() << "needs " << all_runs();
  int runs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(all_runs())) {
    const std::string stem = entry.path().stem().string();
    if (!stem.starts_with("run_") || entry.path().extension() != ".json") continue;
    const json golden = read_json_file(entry.path());
    if (golden.contains("failed")) continue;
    // One range per position of the sequence is not a granularity of quell.
    if (stem == "run_per_token") continue;
    SCOPED_TRACE(stem);
    std::filesystem::path beside = entry.path();
    const SafetensorsFile vectors(beside.replace_extension(".safetensors"));
    const PublishedRun run{.name = stem, .rules = rules_of(golden, vectors)};
    const Experiment experiment(
        experiment_yaml(run, fmt::format("{{calibrate: {{from: {}}}}}", entry.path().string())));
    expect_logits(experiment, entry.path(), golden);
    ++runs;
  }
  EXPECT_GE(runs, 50);
  fmt::print("{} runs compared\n", runs);
}

// Both sides of every activation quantizer of one padded sequence. What enters a node comes out of
// the network; what leaves it follows from that by the quantizer alone.
TEST(Qualcomm, EveryNodeOfW8A8) {
  const SafetensorsFile trace(data_folder() / "run_w8a8_minmax.safetensors");
  QuantizedNetwork network(data_folder(),
                           "{include: placements/qualcomm.yaml, rules: [\n" +
                               std::string("{sites: ['weight:*', 'activation:*'], bits: 8},") +
                               "{sites: 'activation:*', symmetric: false}]}");
  const auto inputs = data_folder() / "inputs.safetensors";
  network.calibrate({},
                    fmt::format("{{from: {}}}", (data_folder() / "run_w8a8_minmax.json").string()));
  std::map<SiteId, at::Tensor> seen;
  network.logits(
      read_batches(inputs, {"eval.0.input_ids"}, 24)[0], true, true,
      [&](SiteId id, const at::Tensor&, const at::Tensor& after) { seen[id] = after.clone(); });
  int64_t nodes = 0, elements = 0, flipped = 0;
  for (const std::string& key : trace.names()) {
    if (!key.starts_with("trace.") || !key.ends_with(".in")) continue;
    const std::string name = key.substr(6, key.size() - 9);
    const auto rows = [&](const std::string& suffix) {
      const at::Tensor tensor = trace.read("trace." + name + suffix);
      return tensor.reshape({-1, tensor.size(-1)}).contiguous();
    };
    const at::Tensor in = rows(".in"), out = rows(".out");
    const at::Tensor after = seen.at(network.site(name)).slice(0, 0, in.size(0));
    Quantizer& quantizer = *network.point(name).quantizer;
    EXPECT_TRUE(equal_bits(quantizer.apply(in, false), out)) << name;
    // In the network: nearly everywhere; a value next to a tie may round to the other side.
    const auto differences = row_differences(after.reshape({-1, 1}), out.reshape({-1, 1}));
    const double scale = quantizer.parameters().scale.item<double>();
    for (const double difference : differences) flipped += difference > 0.5 * scale;
    elements += static_cast<int64_t>(differences.size());
    ++nodes;
  }
  EXPECT_EQ(nodes, 44);
  EXPECT_LE(flipped, elements / 100) << "of " << elements;
  fmt::print("{} nodes, {} of {} values differ by a step\n", nodes, flipped, elements);
}

}  // namespace
}  // namespace quell

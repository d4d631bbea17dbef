// The published code of Outlier Suppression on its own inputs: which tensors it quantizes, the
// ranges it finds, and the logits that follow.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
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

// The golden's own float64 repetition finds every sequence of these runs within 1e-4, which is far
// above the noise of float32 (5e-7) and far below the effect of one flipped rounding (1e-2). A
// processor that sums in another order may flip a rounding in a sequence or two of the 40.
constexpr double kSameLogits = 1e-4;
constexpr double kShareOfSequences = 0.95;
// Ranges come out of the float network, so they inherit the order of its sums.
constexpr double kSameScale = 1e-5;
// How far from a rounding tie min / scale has to be for the zero point to be certain.
constexpr double kTie = 1e-3;

// A folder of goldens, one per model.
struct Goldens {
  std::string folder;

  std::filesystem::path file(const std::string& name) const {
    return test_data() / "parity" / folder / name;
  }
  at::Tensor logits(const std::string& name) const {
    return SafetensorsFile(file("logits.safetensors")).read(name).view({-1, 3});
  }
};

void PrintTo(const Goldens& goldens, std::ostream* out) { *out << goldens.folder; }

const Goldens kBert{"outlier_suppression"}, kRoberta{"outlier_suppression_roberta"};

struct Setting {
  Goldens goldens;
  int bits = 8;
  std::string placement = "outlier_suppression";
  std::string observer = "avg_minmax";
  bool symmetric = false;
  std::string calibrate = "calibrate";
};

std::string experiment_yaml(const Setting& setting) {
  return fmt::format(R"(
name: os
threads: 1
model: {{path: {0}}}
task:
  type: tokens
  path: {0}/inputs.safetensors
  keys: "b{{}}.input_ids"
  calibration_batches: [0-3]
  evaluation_batches: [0-4]
quant:
  include: placements/{1}.yaml
  rules:
    - {{sites: "weight:*", bits: {2}, symmetric: true, granularity: channel, observer: minmax}}
    - {{sites: "activation:*", bits: {2}, symmetric: {3}, observer: {4}}}
pipeline: [{5}]
record: {{site_errors: false}}
)",
                     setting.goldens.file("").string(), setting.placement, setting.bits,
                     setting.symmetric, setting.observer, setting.calibrate);
}

// A table name -> [scale, zero point, min, max] of the published code.
void expect_table(const Experiment& experiment, const json& table) {
  EXPECT_FALSE(table.empty());
  for (const auto& [name, row] : table.items()) {
    const SiteRecord* point = experiment.point(name);
    ASSERT_NE(point, nullptr) << name;
    const QuantParameters found = point->parameters;
    const double scale = row[0], zero_point = row[1], min = row[2];
    ASSERT_EQ(found.scale.numel(), 1) << name;
    EXPECT_NEAR(found.scale.item<double>(), scale, kSameScale * scale) << name;
    EXPECT_NEAR(point->range.min.item<double>(), min, kSameScale * std::abs(min) + 1e-7) << name;
    const double exact = std::abs(min / scale);
    const bool tie = std::abs(exact - std::floor(exact) - 0.5) < kTie;
    EXPECT_NEAR(found.zero_point.item<double>(), zero_point, tie ? 1 : 0) << name;
  }
}

void expect_logits(const Experiment& experiment, const Goldens& goldens,
                   const std::string& method) {
  const std::pair<Stage, const char*> stages[] = {{Stage::kQuantized, "logits"},
                                                  {Stage::kWeightsOnly, "logits_w_only"},
                                                  {Stage::kActivationsOnly, "logits_a_only"}};
  for (const auto& [stage, name] : stages) {
    const auto differences = row_differences(experiment.logits(stage),
                                             goldens.logits(fmt::format("{}/{}", method, name)));
    EXPECT_EQ(differences.size(), 40u);
    EXPECT_GE(share_within(differences, kSameLogits), kShareOfSequences)
        << method << " " << to_string(stage);
  }
}

class OutlierSuppression : public testing::TestWithParam<Goldens> {
 protected:
  const Goldens& goldens_ = GetParam();

  Setting setting(int bits = 8) const { return {.goldens = goldens_, .bits = bits}; }
  std::filesystem::path golden(const std::string& name) const { return goldens_.file(name); }
};

TEST_P(OutlierSuppression, FloatLogits) {
  const Experiment experiment(experiment_yaml(setting()));
  const at::Tensor expected = goldens_.logits("fp.logits");
  EXPECT_LE(max_difference(experiment.logits(Stage::kFloat), expected), float_tolerance(expected));
}

TEST_P(OutlierSuppression, PlacementsNameExactlyTheNodesOfTheCode) {
  const json nodes = read_json_file(golden("nodes.json"));
  const std::pair<const char*, const char*> placements[] = {
      {"outlier_suppression", "academic"}, {"outlier_suppression_tensorrt", "tensorrt"}};
  for (const auto& [placement, backend] : placements) {
    Setting chosen = setting();
    chosen.placement = placement;
    const Experiment experiment(experiment_yaml(chosen), /*run=*/false);
    auto expected = nodes[backend].get<std::vector<std::string>>();
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(experiment.quantized_names("outlier_suppression"), expected) << placement;
  }
}

TEST_P(OutlierSuppression, WeightScalesBitForBit) {
  const SafetensorsFile file(golden("weight_scales.safetensors"));
  QuantizedNetwork network(golden(""),
                           "{include: placements/outlier_suppression.yaml, rules: "
                           "[{sites: ['weight:*', 'activation:*'], bits: 8}]}");
  int64_t compared = 0;
  for (const std::string& key : file.names()) {
    // gm0/MinMax/b<bits>/<sym|asym>/<ch0|tensor>/<node>.<scale|zero_point>
    const size_t node =
        key.find('/', key.find("/ch0/") != std::string::npos ? key.find("/ch0/") + 1
                                                             : key.find("/tensor/") + 1) +
        1;
    const std::string name = key.substr(node, key.rfind('.') - node);
    const bool is_scale = key.ends_with(".scale");
    QuantSpec spec;
    spec.is_weight = true;
    spec.bits = key[key.find("/b") + 2] - '0';
    spec.symmetric = key.find("/sym/") != std::string::npos;
    spec.granularity =
        key.find("/ch0/") != std::string::npos ? Granularity::kChannel : Granularity::kTensor;
    const at::Tensor& weight = network.model().weight(network.site(name));
    const auto observer = ObserverChoice(all_plugins().observers, "minmax").create(spec);
    observer->observe(weight);
    const QuantParameters found = parameters_from_range(observer->range(), spec);
    const at::Tensor expected = file.read(key).to(at::kFloat).view({-1});
    EXPECT_TRUE(equal_bits(is_scale ? found.scale : found.zero_point, expected)) << key;
    ++compared;
  }
  EXPECT_EQ(compared, static_cast<int64_t>(file.names().size()));
  EXPECT_GE(compared, 5 * 23);  // five settings of 23 weights
}

TEST_P(OutlierSuppression, RangesAndLogitsOfMinMax) {
  const SafetensorsFile scales(golden("weight_scales.safetensors"));
  for (const int bits : {8, 6, 4}) {
    const Experiment experiment(experiment_yaml(setting(bits)));
    const std::string method = fmt::format("minmax/b{}", bits);
    expect_table(experiment, read_json_file(golden("ptq.json"))[method]["final"]);
    expect_logits(experiment, goldens_, method);
    for (const std::string& name : experiment.quantized_names("outlier_suppression")) {
      const std::string key = fmt::format("gm0/MinMax/b{}/sym/ch0/{}.scale", bits, name);
      if (!name.ends_with("weight_fake_quant")) continue;
      EXPECT_TRUE(equal_bits(experiment.point(name)->parameters.scale, scales.read(key))) << name;
    }
  }
}

TEST_P(OutlierSuppression, PlainMinMaxObserver) {
  const json tables = read_json_file(golden("act_observers.json"));
  for (const int bits : {8, 6, 4}) {
    Setting chosen = setting(bits);
    chosen.observer = "minmax";
    expect_table(Experiment(experiment_yaml(chosen)),
                 tables[fmt::format("gm0/MinMax/b{}/asym", bits)]);
  }
}

TEST_P(OutlierSuppression, SymmetricActivations) {
  Setting chosen = setting(6);
  chosen.symmetric = true;
  const Experiment experiment(experiment_yaml(chosen));
  expect_table(experiment, read_json_file(golden("act_observers.json"))["gm0/AvgMinMax/b6/sym"]);
}

TEST_P(OutlierSuppression, TensorrtPlacement) {
  Setting chosen = setting(6);
  chosen.placement = "outlier_suppression_tensorrt";
  const Experiment experiment(experiment_yaml(chosen));
  expect_table(experiment, read_json_file(golden("ptq.json"))["minmax_tensorrt/b6"]["final"]);
  expect_logits(experiment, goldens_, "minmax_tensorrt/b6");
}

// Ranges of any method, taken from the published table: what is compared is the network alone.
TEST_P(OutlierSuppression, LogitsForGivenRanges) {
  int64_t methods = 0;
  const json ptq = read_json_file(golden("ptq.json"));
  for (const auto& [method, tables] : ptq.items()) {
    if (method.find("tensorrt") != std::string::npos || !tables.contains("final")) continue;
    Setting chosen = setting(method.back() - '0');
    chosen.observer = "minmax";
    chosen.calibrate = fmt::format("{{calibrate: {{from: {}, entry: [{}, final]}}}}",
                                   golden("ptq.json").string(), method);
    expect_logits(Experiment(experiment_yaml(chosen)), goldens_, method);
    ++methods;
  }
  EXPECT_GE(methods, 7);
}

INSTANTIATE_TEST_SUITE_P(Models, OutlierSuppression, testing::Values(kBert, kRoberta),
                         [](const auto& model) { return model.index == 0 ? "Bert" : "Roberta"; });

TEST(OutlierSuppressionOnBert, GivenRangesOfTheCoarseStageWithoutGamma) {
  Setting chosen{.goldens = kBert, .bits = 6};
  chosen.calibrate =
      fmt::format("{{calibrate: {{from: {}, entry: [twc_fine_nogamma/b6, coarse]}}}}",
                  kBert.file("ptq.json").string());
  const Experiment experiment(experiment_yaml(chosen));
  const auto differences = row_differences(experiment.logits(Stage::kQuantized),
                                           kBert.logits("twc_fine_nogamma/b6/logits_coarse_only"));
  EXPECT_GE(share_within(differences, kSameLogits), kShareOfSequences);
}

// What entered every quantizer of the float network: the sites are where the code has its nodes.
TEST(OutlierSuppressionOnBert, ValuesAtEverySite) {
  const SafetensorsFile file(kBert.file("node_inputs.safetensors"));
  QuantizedNetwork network(kBert.file(""),
                           "{include: placements/outlier_suppression.yaml, rules: [{sites: "
                           "['weight:*', 'activation:*'], bits: 8}]}");
  const auto batches =
      read_batches(kBert.file("inputs.safetensors"), {"b0.input_ids"}, /*keep_padding_to=*/32);
  std::map<SiteId, at::Tensor> seen;
  network.logits(
      batches[0], false, false,
      [&](SiteId id, const at::Tensor& before, const at::Tensor&) { seen[id] = before.clone(); });
  const int64_t sequences = 2, tokens = 32;
  for (const std::string& name : file.names()) {
    at::Tensor expected = file.read(name);
    if (name.find("key_transpose") != std::string::npos) expected = expected.transpose(2, 3);
    if (name.find("permute") != std::string::npos || name.find("transpose") != std::string::npos) {
      expected = expected.transpose(1, 2).reshape({sequences * tokens, -1});
    }
    expected = expected.reshape({-1, expected.size(-1)});
    const at::Tensor& found = seen.at(network.site(name));
    ASSERT_GE(found.size(0), expected.size(0)) << name;
    // Behind masked keys the published code has probabilities of 0, as here.
    EXPECT_LE(max_difference(found.slice(0, 0, expected.size(0)), expected),
              float_tolerance(expected))
        << name;
  }
}

}  // namespace
}  // namespace quell

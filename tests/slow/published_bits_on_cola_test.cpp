// The published pipelines on a trained model and all 1043 development sentences of CoLA, computed
// as the published code computes them: ranges, losses, learned scales and logits have its very
// bits.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/engine.h"
#include "tests/support/equal_bits.h"
#include "tests/support/records.h"

namespace quell {
namespace {

using nlohmann::json;

std::filesystem::path golden_folder() {
  return shared_folder() / "goldens/outlier_suppression/real_minilm_cola_full";
}

struct Method {
  const char* name;
  int bits;
  const char* rules;  // for the activations
  const char* pipeline;
};

// Queries, keys and values are added head by head, as the published gradients are.
constexpr const char* kLearned = R"(
    - {sites: "activation:*", quantizer: {type: lsq_plus, gradients: published}}
    - {sites: "activation:*.attention.{query,value}",
       quantizer: {type: lsq_plus, gradients: published, heads: 12, length: 64}}
    - {sites: "activation:*.attention.key",
       quantizer: {type: lsq_plus, gradients: published, heads: 12, length: 64, transposed: true}})";
constexpr const char* kWholeMethod =
    "[gamma_migration: {epsilon: 1.0e-5}, token_wise_clipping, learn_scales]";
constexpr const char* kMinMax = R"(
    - {sites: "activation:*", observer: avg_minmax})";
constexpr const char* kQuantile = R"(
    - {sites: "activation:*", observer: quantile})";

std::string experiment_yaml(const Method& method, const char* stage) {
  return fmt::format(R"(
name: published-bits
threads: 1
model: {{path: {0}}}
task:
  type: tokens
  path: {1}/logits.safetensors
  calibration_keys: "calib.b{{}}.input_ids"
  calibration_batches: [0-7]
  evaluation_keys: "dev.input_ids"
  evaluation_labels: "dev_labels"
  mask_from_padding: true
  evaluation_padding: keep
  batch_size: 32
  metrics: [matthews_correlation]
calibration: {{padding: unobserved}}
quant:
  include: [placements/outlier_suppression.yaml, outlier_suppression/observers.yaml]
  rules:
    - {{sites: ["weight:*", "activation:*"], bits: {2}}}{3}
pipeline: {4}
stages: [{5}]
record: {{site_errors: false}}
)",
                     (shared_folder() / "models/minilm-cola").string(), golden_folder().string(),
                     method.bits, method.rules, method.pipeline, stage);
}

bool has_published_float_bits(const SafetensorsFile& golden) {
  static const bool equal =
      equal_bits(Experiment(experiment_yaml({"", 8, kMinMax, "[]"}, "float")).logits(Stage::kFloat),
                 golden.read("fp.dev_logits"));
  return equal;
}

class PublishedBits : public testing::TestWithParam<Method> {};

TEST_P(PublishedBits, OfRangesLossesScalesAndLogits) {
  if (!std::filesystem::exists(golden_folder()) ||
      !std::filesystem::exists(shared_folder() / "models/minilm-cola")) {
    GTEST_SKIP() << "needs " << golden_folder() << " and the model minilm-cola";
  }
  const SafetensorsFile golden(golden_folder() / "logits.safetensors");
  if (!has_published_float_bits(golden)) {
    GTEST_SKIP() << "the float network has other bits: matrix products of this processor round "
                    "differently";
  }
  Experiment experiment(experiment_yaml(GetParam(), "quantized"));
  const json published = read_json_file(golden_folder() / "real.json")["runs"][GetParam().name];
  if (published.contains("loss_of_ratio")) {
    const SearchRecord search = searches(experiment.record().records).at(0);
    EXPECT_EQ(search.chosen, published["best_index"].get<int64_t>());
    for (size_t i = 0; i < search.candidates.size(); ++i) {
      const auto loss = published["loss_of_ratio"][i].get<float>();
      const bool whole = search.candidates[i].batches == 8;
      EXPECT_TRUE(whole ? search.candidates[i].loss == loss : search.candidates[i].loss <= loss)
          << i << ": " << search.candidates[i].loss << ", published " << loss;
    }
  }
  for (const auto& [name, row] : published["final"].items()) {
    const QuantParameters found = experiment.point(name)->parameters;
    EXPECT_EQ(found.scale.item<float>(), row[0].get<float>()) << name;
  }
  EXPECT_TRUE(equal_bits(experiment.logits(Stage::kQuantized),
                         golden.read(std::string(GetParam().name) + "/dev_logits")));
  EXPECT_NEAR(100 * experiment.metric(Stage::kQuantized, "matthews_correlation"),
              published["metric"]["matthews"].get<double>(), 1e-9);
}

INSTANTIATE_TEST_SUITE_P(Methods, PublishedBits,
                         testing::Values(Method{"minmax/b8", 8, kMinMax, "[calibrate]"},
                                         Method{"minmax/b6", 6, kMinMax, "[calibrate]"},
                                         Method{"quantile/b6", 6, kQuantile, "[calibrate]"},
                                         Method{"twc/b8", 8, kLearned, kWholeMethod},
                                         Method{"twc/b6", 6, kLearned, kWholeMethod}),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           name[name.find('/')] = '_';
                           return name;
                         });

}  // namespace
}  // namespace quell

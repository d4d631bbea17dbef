// A trained model on all 1043 development sentences of CoLA, against the published code of Outlier
// Suppression on the same sentences.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

std::string experiment_yaml(const std::filesystem::path& model, const std::filesystem::path& golden,
                            int bits) {
  return fmt::format(R"(
name: minilm-cola
model: {{path: {0}}}
task:
  type: tokens
  path: {1}/logits.safetensors
  calibration_keys: "calib.b{{}}.input_ids"
  calibration_batches: [0-7]
  evaluation_keys: "dev.input_ids"
  evaluation_labels: "dev_labels"
  mask_from_padding: true
  batch_size: 32
  metrics: [matthews_correlation]
quant:
  include: placements/outlier_suppression.yaml
  rules:
    - {{sites: "weight:*", bits: {2}, symmetric: true, granularity: channel, observer: minmax}}
    - {{sites: "activation:*", bits: {2}, symmetric: false, observer: avg_minmax}}
pipeline: [calibrate]
stages: [float, quantized]
record: {{site_errors: false}}
)",
                     model.string(), golden.string(), bits);
}

class MiniLmOnCola : public testing::TestWithParam<int> {};

TEST_P(MiniLmOnCola, RangesLogitsAndMatthewsCorrelation) {
  const auto folder = shared_folder() / "goldens/outlier_suppression/real_minilm_cola_full";
  const auto model = shared_folder() / "models/minilm-cola";
  if (!std::filesystem::exists(folder) || !std::filesystem::exists(model)) {
    GTEST_SKIP() << "needs " << folder << " and " << model;
  }
  const int bits = GetParam();
  const std::string run = fmt::format("minmax/b{}", bits);
  const Experiment experiment(experiment_yaml(model, folder, bits));
  const SafetensorsFile golden(folder / "logits.safetensors");
  const at::Tensor float_logits = golden.read("fp.dev_logits");
  EXPECT_LE(max_difference(experiment.logits(Stage::kFloat), float_logits),
            float_tolerance(float_logits));
  EXPECT_NEAR(experiment.metric(Stage::kFloat, "matthews_correlation"), 0.2911, 5e-5);

  // Ranges come out of the float network: 1e-5, as its logits.
  const auto table = read_json_file(folder / "real.json")["runs"][run]["final"];
  for (const auto& [name, row] : table.items()) {
    const QuantParameters found = experiment.point(name)->parameters;
    const double scale = row[0];
    EXPECT_NEAR(found.scale.item<double>(), scale, 1e-5 * scale) << name;
    EXPECT_EQ(found.zero_point.item<double>(), row[1].get<double>()) << name;
  }

  // Of some thousand rounded values per sentence one or the other lies next to a tie and rounds to
  // the other side where sums are in another order. That moves the logits of every 20th sentence
  // visibly, and the predictions of a few: each is worth up to 0.3 points of the correlation.
  const auto differences =
      row_differences(experiment.logits(Stage::kQuantized), golden.read(run + "/dev_logits"));
  // Where products round otherwise than on the processor of the golden, ranges do so, too.
  EXPECT_GE(share_within(differences, 1e-2), rounds_as_published() ? 0.9 : 0.85);
  const double published = bits == 8 ? 0.2896 : 0.2180;
  const double found = experiment.metric(Stage::kQuantized, "matthews_correlation");
  EXPECT_NEAR(found, published, 0.015);
  fmt::print(
      "W{0}A{0}: Matthews {1:.4f} (published code {2:.4f}), {3:.1f} % of sentences within "
      "1e-4\n",
      bits, found, published, 100 * share_within(differences, 1e-4));
}

INSTANTIATE_TEST_SUITE_P(Bits, MiniLmOnCola, testing::Values(8, 6));

}  // namespace
}  // namespace quell

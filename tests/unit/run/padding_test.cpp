// What `calibration.padding` changes: what observers see, and nothing else that matters.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/engine.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

std::string experiment_yaml(const std::string& folder, const std::string& placement,
                            const std::string& padding) {
  return fmt::format(R"(
name: padding
model: {{path: {0}}}
task:
  type: tokens
  path: {0}/inputs.safetensors
  keys: "b{{}}.input_ids"
  calibration_batches: [0-3]
  evaluation_batches: [4]
calibration: {{padding: {1}, pad_to: 32}}
quant:
  include: placements/{2}.yaml
  rules: [{{sites: ["weight:*", "activation:*"], bits: 6, observer: minmax}}]
pipeline: [calibrate]
stages: [quantized]
record: {{site_errors: false}}
)",
                     (test_data() / "parity" / folder).string(), padding, placement);
}

std::vector<double> scales(const std::string& padding) {
  Experiment experiment(experiment_yaml("outlier_suppression", "outlier_suppression", padding));
  std::vector<double> result;
  for (const Site& site : experiment.runner().model().sites()) {
    const SitePoint* point = experiment.point(site.key());
    if (site.kind != SiteKind::kActivation || point == nullptr) continue;
    result.push_back(point->quantizer->parameters().scale.item<double>());
  }
  return result;
}

TEST(Padding, UnobservedGivesTheRangesOfNoPadding) {
  const std::vector<double> dropped = scales("drop"), unobserved = scales("unobserved"),
                            kept = scales("keep");
  ASSERT_EQ(dropped.size(), 26u);
  int64_t seen = 0;
  for (size_t i = 0; i < dropped.size(); ++i) {
    EXPECT_NEAR(unobserved[i], dropped[i], 1e-5 * dropped[i]) << i;  // sums of other lengths
    seen += std::abs(kept[i] / dropped[i] - 1) > 1e-3;
  }
  EXPECT_GT(seen, 0) << "padding has no extremes here, so that nothing was shown";
}

TEST(Padding, UnobservedIsNotForModelsThatWrite) {
  const std::string yaml =
      experiment_yaml("outlier_suppression_bart_gen", "outlier_suppression_bart", "unobserved");
  EXPECT_THAT(message_of<ConfigError>([&] { Experiment experiment(yaml); }),
              HasSubstr("calibration.padding: unobserved is not for models that write text"));
}

}  // namespace
}  // namespace quell

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
  for (const Site& site : experiment.record().sites) {
    const SiteRecord* point = experiment.point(site.key());
    if (site.kind != SiteKind::kActivation || point == nullptr) continue;
    result.push_back(point->parameters.scale.item<double>());
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

TEST(Padding, UnobservedIsNotReported) {
  const auto run = [](const std::string& padding) {
    std::string yaml = experiment_yaml("outlier_suppression", "outlier_suppression", padding);
    const std::string record = "record: {site_errors: false}";
    yaml.replace(yaml.find(record), record.size(),
                 "record: {site_error_batches: 2, outliers: {all_tokens: true}}");
    return Experiment(yaml);
  };
  Experiment dropped = run("drop"), unobserved = run("unobserved"), kept = run("keep");
  const auto& expected = dropped.record().site_errors;
  const auto& found = unobserved.record().site_errors;
  ASSERT_EQ(expected.size(), 26u);
  ASSERT_EQ(found.size(), expected.size());
  int64_t moved_by_padding = 0;
  for (const auto& [id, error] : expected) {
    // Ranges are those of other sums, and turn single roundings.
    EXPECT_NEAR(found.at(id).sqnr_db, error.sqnr_db, 0.05) << id;
    EXPECT_NEAR(found.at(id).network_sqnr_db, error.network_sqnr_db, 0.2) << id;
    EXPECT_NEAR(found.at(id).cosine_to_float, error.cosine_to_float, 1e-3) << id;
    moved_by_padding += std::abs(kept.record().site_errors.at(id).sqnr_db - error.sqnr_db) > 0.3;
  }
  EXPECT_GT(moved_by_padding, 5) << "padding makes no difference here, so that nothing was shown";
  const auto& stages = dropped.record().outliers->stages;
  ASSERT_EQ(unobserved.record().outliers->stages.size(), stages.size());
  EXPECT_EQ(unobserved.record().outliers->tokens.tokens.ids,
            dropped.record().outliers->tokens.tokens.ids);
  EXPECT_GT(kept.record().outliers->tokens.tokens.ids.size(),
            dropped.record().outliers->tokens.tokens.ids.size());
  for (size_t i = 0; i < stages[0].sites.size(); ++i) {  // of the float network
    const SiteSummary& plain = stages[0].sites[i].second;
    const SiteSummary& hidden = unobserved.record().outliers->stages[0].sites[i].second;
    EXPECT_EQ(hidden.row_count, plain.row_count) << i;
    EXPECT_EQ(hidden.row_min.size(), plain.row_min.size()) << i;
    EXPECT_EQ(hidden.all.min, plain.all.min) << i;
    EXPECT_EQ(hidden.all.max, plain.all.max) << i;
    EXPECT_EQ(hidden.beyond, plain.beyond) << i;
    EXPECT_EQ(hidden.histogram, plain.histogram) << i;
  }
}

TEST(Padding, UnobservedIsNotForModelsThatWrite) {
  const std::string yaml =
      experiment_yaml("outlier_suppression_bart_gen", "outlier_suppression_bart", "unobserved");
  EXPECT_THAT(message_of<ConfigError>([&] { Experiment experiment(yaml); }),
              HasSubstr("calibration.padding: unobserved is not for models that write text"));
}

}  // namespace
}  // namespace quell

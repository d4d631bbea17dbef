#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "tasks/metrics/classification.h"
#include "tasks/metrics/correlation.h"
#include "tasks/metrics/named.h"
#include "tests/support/paths.h"

namespace quell {
namespace {

using nlohmann::json;

// Both sides compute in float64; the sums run in another order.
constexpr double kTolerance = 1e-12;

void expect_equal(double actual, const json& expected, size_t index) {
  if (expected.is_null()) {
    EXPECT_TRUE(std::isnan(actual)) << "case " << index;
  } else {
    EXPECT_NEAR(actual, expected.get<double>(), kTolerance) << "case " << index;
  }
}

TEST(Metrics, EqualTheGoldens) {
  std::ifstream stream(source_folder() / "tests/data/glue/glue_metrics.json");
  const json cases = json::parse(stream);
  ASSERT_EQ(cases.size(), 42u);
  for (size_t i = 0; i < cases.size(); ++i) {
    const json& item = cases[i];
    if (item["kind"] == "regression") {
      const auto predictions = item["pred"].get<std::vector<double>>();
      const auto labels = item["label"].get<std::vector<double>>();
      expect_equal(pearson(predictions, labels), item["pearson"], i);
      expect_equal(spearman(predictions, labels), item["spearman"], i);
      continue;
    }
    const auto predictions = item["pred"].get<std::vector<int64_t>>();
    const auto labels = item["label"].get<std::vector<int64_t>>();
    expect_equal(accuracy(predictions, labels), item["accuracy"], i);
    expect_equal(matthews_correlation(predictions, labels), item["matthews"], i);
    if (item["kind"] == "binary") expect_equal(f1(predictions, labels), item["f1"], i);
  }
}

TEST(Metrics, AreDefinedOrNotForFewEntries) {
  const std::vector<int64_t> no_classes;
  const std::vector<double> no_scores;
  const std::vector<double> one_score = {1.0};
  EXPECT_TRUE(std::isnan(accuracy(no_classes, no_classes)));
  EXPECT_EQ(f1(no_classes, no_classes), 0.0);
  EXPECT_EQ(matthews_correlation(no_classes, no_classes), 0.0);
  EXPECT_TRUE(std::isnan(pearson(no_scores, no_scores)));
  EXPECT_TRUE(std::isnan(spearman(one_score, one_score)));
}

TEST(Metrics, CorrelationIgnoresScaleAndShift) {
  const std::vector<double> x = {0.1, 2.5, 2.5, 4.0, 1.7};
  const std::vector<double> y = {1.0, 2.0, 3.5, 5.0, 2.0};
  std::vector<double> moved = x;
  for (double& value : moved) value = 3.0 * value - 7.0;
  EXPECT_NEAR(pearson(moved, y), pearson(x, y), kTolerance);
  EXPECT_NEAR(spearman(moved, y), spearman(x, y), kTolerance);
}

TEST(Metrics, HaveNames) {
  for (const std::string& name : metric_names()) EXPECT_NO_THROW(check_metric_name(name));
  try {
    check_metric_name("acuracy");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("did you mean \"accuracy\""));
  }
}

}  // namespace
}  // namespace quell

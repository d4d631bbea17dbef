#include "framework/run/sensitivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/file.h"
#include "tests/support/small_experiment.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;

class Sensitivity : public testing::Test {
 protected:
  std::vector<SensitivityRow> measure(const SensitivityOptions& options,
                                      const std::vector<std::string>& settings = {}) {
    const auto file = folder_.write("experiment.yaml", glue_experiment(folder_));
    const ExperimentSpec spec = load_experiment(file, settings, all_plugins());
    Log log(Verbosity::kQuiet);
    return measure_sensitivity(spec, options, all_plugins(), log);
  }
  const SensitivityRow& row(const std::vector<SensitivityRow>& rows, const std::string& group,
                            const std::string& mode) {
    for (const SensitivityRow& one : rows) {
      if (one.group == group && one.mode == mode) return one;
    }
    throw Error("no row " + group + " " + mode);
  }

  TemporaryFolder folder_;
};

TEST_F(Sensitivity, OfEachRoleAloneAndLeftOut) {
  const auto rows = measure({});
  const Experiment experiment("base: " + (folder_ / "experiment.yaml").string());
  for (const auto& [mode, stage] :
       {std::pair("float", Stage::kFloat), std::pair("all", Stage::kQuantized)}) {
    EXPECT_EQ(row(rows, "", mode).metrics[0].second, experiment.metric(stage, "accuracy")) << mode;
  }
  const int64_t all = row(rows, "", "all").sites;
  EXPECT_EQ(row(rows, "", "float").sites, 0);
  int64_t sum = 0;
  for (const SensitivityRow& one : rows) {
    if (one.mode != "alone") continue;
    sum += one.sites;
    EXPECT_EQ(row(rows, one.group, "without").sites, all - one.sites) << one.group;
  }
  EXPECT_EQ(sum, all);
  EXPECT_EQ(row(rows, "activation:gelu", "alone").sites, 4);  // one in each layer
}

TEST_F(Sensitivity, ByLayerAndBits) {
  SensitivityOptions options;
  options.grouping = SiteGrouping::kLayer;
  options.without = false;
  for (const char* text : {"bits: 8", "bits: 2"}) {
    options.settings.push_back(read_setting(text, all_plugins()));
  }
  const auto rows = measure(options);
  EXPECT_EQ(rows.size(), 2u * (2 + 5));  // nothing, everything, four layers and the rest
  EXPECT_EQ(rows[0].bits, 8);
  EXPECT_EQ(rows.back().bits, 2);
  EXPECT_GT(row(rows, "encoder.3", "alone").sites, 10);
}

TEST_F(Sensitivity, GoesOnWhereItWas) {
  SensitivityOptions options;
  options.grouping = SiteGrouping::kLayer;
  options.file = folder_ / "sensitivity.json";
  options.without = false;
  measure(options);
  const std::string first = read_file(options.file);
  measure(options);
  EXPECT_EQ(read_file(options.file), first);
  options.without = true;
  const auto both = measure(options);  // the other half is added
  EXPECT_EQ(both.size(), 2u + 2 * 5);
  EXPECT_TRUE(read_file(options.file).find(first.substr(0, first.size() / 2)) == 0);
  EXPECT_THAT(message_of<ConfigError>([&] { measure(options, {"seed=7"}); }),
              HasSubstr("of another experiment"));
}

TEST_F(Sensitivity, ADamagedFileIsADataError) {
  SensitivityOptions options;
  options.file = folder_ / "sensitivity.json";
  const auto refusal = [&](const std::string& content) {
    folder_.write("sensitivity.json", content);
    return message_of<DataError>([&] { measure(options); });
  };
  for (const char* content : {"{}", "[]", "{", "null"}) {
    EXPECT_THAT(refusal(content), HasSubstr("sensitivity.json")) << content;
  }
  // Of this very experiment, with a row that lacks its metrics.
  std::filesystem::remove(options.file);
  options.grouping = SiteGrouping::kLayer;
  options.without = false;
  measure(options);
  std::string text = read_file(options.file);
  const size_t metrics = text.find("\"metrics\"");
  ASSERT_NE(metrics, std::string::npos);
  EXPECT_THAT(refusal(text.replace(metrics, 9, "\"metrucs\"")), HasSubstr("damaged"));
}

}  // namespace
}  // namespace quell

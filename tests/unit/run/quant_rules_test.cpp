// The cascade of rules, and where its errors point.
#include "framework/run/quant_rules.h"

#include <gmock/gmock.h>
#include <functional>

#include "framework/base/error.h"
#include "framework/config/load.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::vector<Site> sites() {
  std::vector<Site> result;
  const auto add = [&](const std::string& name, SiteKind kind, const std::string& alias = "") {
    Site site;
    site.name = name;
    site.kind = kind;
    site.alias = alias;
    result.push_back(site);
  };
  add("embeddings.word", SiteKind::kWeight);
  add("encoder.0.ffn.output", SiteKind::kWeight);
  add("encoder.0.ffn.gelu", SiteKind::kActivation);
  add("encoder.1.ffn.gelu", SiteKind::kActivation, "encoder.last.ffn.gelu");
  return result;
}

// Plans the sites by rules as they stand in an experiment; throws all problems together.
std::vector<SitePlan> plan(const std::string& quant, const std::string& file = "x.yaml") {
  Problems problems;
  ReadContext context{problems, &all_plugins()};
  const auto options =
      read_config<QuantOptions>(parse_yaml(quant, file, problems), context, "quant");
  const auto rules = collect_rules(options, context);
  problems.throw_if_any();
  const auto result = plan_sites(sites(), rules, all_plugins(), problems);
  problems.throw_if_any();
  return result;
}

std::string problems_of(const std::string& quant) {
  return message_of<ConfigError>([&] { plan(quant); });
}

TEST(QuantRules, NothingIsQuantizedWithoutARule) {
  for (const SitePlan& site : plan("{rules: []}")) EXPECT_FALSE(site.quantize);
}

TEST(QuantRules, DefaultsOfWeightsAndActivations) {
  const auto plans = plan("{rules: [{sites: '*', quantize: true, bits: 8}]}");
  EXPECT_TRUE(plans[0].spec.is_weight);
  EXPECT_TRUE(plans[0].spec.symmetric);
  EXPECT_EQ(plans[0].spec.axis, 0);
  EXPECT_FALSE(plans[2].spec.is_weight);
  EXPECT_FALSE(plans[2].spec.symmetric);
  EXPECT_EQ(plans[2].spec.axis, 1);
  for (const SitePlan& site : plans) {
    EXPECT_EQ(site.spec.granularity, Granularity::kTensor);
    EXPECT_EQ(site.observer.name(), "minmax");
    EXPECT_EQ(site.quantizer.name(), "fixed");
    EXPECT_EQ(site.during_calibration, DuringCalibration::kObserve);
  }
}

TEST(QuantRules, LaterRulesWinKeyByKey) {
  const auto plans = plan(R"(
rules:
  - {sites: "*", quantize: true, bits: 8, symmetric: true, grid: os_plus}
  - {sites: "activation:*", bits: 6, observer: {type: ema_minmax, momentum: 0.5}}
  - {sites: "activation:encoder.last.ffn.gelu", bits: 16}
  - {sites: ["weight:embeddings.*"], quantize: false}
)");
  EXPECT_FALSE(plans[0].quantize);
  EXPECT_EQ(plans[1].spec.bits, 8);
  EXPECT_EQ(plans[2].spec.bits, 6);
  EXPECT_EQ(plans[3].spec.bits, 16);
  EXPECT_EQ(plans[3].observer.name(), "ema_minmax");
  EXPECT_TRUE(plans[3].spec.symmetric);  // what the later rules leave alone
  EXPECT_EQ(plans[3].spec.grid, kernels::Grid::kOsPlus);
}

TEST(QuantRules, IncludedFilesComeFirstInTheirOrder) {
  const TemporaryFolder folder;
  folder.write("inner.yaml", "rules: [{sites: '*', quantize: true, bits: 2}]");
  folder.write("outer.yaml", "include: inner.yaml\nrules: [{sites: 'weight:*', bits: 3}]");
  folder.write("second.yaml", "rules: [{sites: 'weight:embeddings.word', bits: 4}]");
  const auto plans = plan(
      "include: [outer.yaml, second.yaml]\n"
      "rules: [{sites: 'activation:encoder.0.*', bits: 5}]",
      (folder / "experiment.yaml").string());
  EXPECT_EQ(plans[0].spec.bits, 4);
  EXPECT_EQ(plans[1].spec.bits, 3);
  EXPECT_EQ(plans[2].spec.bits, 5);
  EXPECT_EQ(plans[3].spec.bits, 2);
}

TEST(QuantRules, IncludesDoNotGrowWithoutLimit) {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& rules) {
    folder.write("0.yaml", "rules: [" + rules + "]");
    for (int level = 1; level <= 15; ++level) {
      const std::string below = std::to_string(level - 1) + ".yaml";
      folder.write(std::to_string(level) + ".yaml",
                   "include: [" + below + ", " + below + "]\nrules: []");
    }
    return message_of<ConfigError>(
        [&] { plan("include: 15.yaml", (folder / "experiment.yaml").string()); });
  };
  EXPECT_THAT(refusal("{sites: '*', bits: 4}"), HasSubstr("more than 10000 rules or files"));
  EXPECT_THAT(refusal(""), HasSubstr("more than 10000 rules or files"));
}

TEST(QuantRules, PatternsDoNotGrowWithoutLimit) {
  std::string groups;
  for (int i = 0; i < 30; ++i) groups += "{,x}";
  EXPECT_THAT(problems_of("{rules: [{sites: '*" + groups + "', bits: 8}]}"),
              AllOf(HasSubstr("x.yaml:1:"), HasSubstr("more than 10000 patterns")));
}

TEST(QuantRules, FilesThatIncludeEachOther) {
  const TemporaryFolder folder;
  folder.write("a.yaml", "include: b.yaml\nrules: []");
  folder.write("b.yaml", "include: a.yaml\nrules: []");
  EXPECT_THAT(message_of<ConfigError>(
                  [&] { plan("include: a.yaml", (folder / "experiment.yaml").string()); }),
              HasSubstr("circle"));
}

TEST(QuantRules, APatternThatMatchesNothing) {
  const std::string message = problems_of(R"(rules:
  - {sites: ["weight:*", "activation:encoder.0.ffn.glu"], quantize: true, bits: 8}
)");
  EXPECT_THAT(message, AllOf(HasSubstr("x.yaml:2:5"), HasSubstr("encoder.0.ffn.glu"),
                             HasSubstr("did you mean \"activation:encoder.0.ffn.gelu\"")));
  EXPECT_THAT(problems_of("{rules: [{sites: 'nowhere.at.all.*', bits: 8}]}"),
              HasSubstr("quell check"));
}

TEST(QuantRules, AQuantizedSiteNeedsBits) {
  const std::string message = problems_of("rules:\n  - {sites: 'weight:*', quantize: true}\n");
  EXPECT_THAT(message, AllOf(HasSubstr("x.yaml:2:5"), HasSubstr("weight:embeddings.word"),
                             HasSubstr("and 1 more are"), HasSubstr("`bits`")));
}

TEST(QuantRules, SettingsThatASiteCannotHave) {
  EXPECT_THAT(
      problems_of("{rules: [{sites: 'weight:*', quantize: true, bits: 8, granularity: token}]}"),
      AllOf(HasSubstr("token"), HasSubstr("channel")));
  EXPECT_THAT(problems_of("{rules: [{sites: '*', quantize: true, bits: 8, granularity: group}]}"),
              HasSubstr("group_size"));
  EXPECT_THAT(
      problems_of("{rules: [{sites: '*', quantize: true, bits: 8, granularity: feature_groups}]}"),
      HasSubstr("needs the number of `groups`"));
}

TEST(QuantRules, ValuesOutOfRange) {
  for (const char* rule : {"bits: 1", "bits: 17", "bits: 40", "bits: 8.5", "axis: 2", "axis: -1",
                           "group_size: 0", "groups: 0", "granularity: row", "grid: none",
                           "sites: []", "observer: nothing", "quantizer: 3", "unknown: 1"}) {
    const std::string yaml = "rules:\n  - sites: '*'\n    " + std::string(rule) + "\n";
    EXPECT_THAT(problems_of(yaml), HasSubstr("x.yaml:")) << rule;
  }
  EXPECT_THAT(problems_of("{rules: [{bits: 8}]}"), HasSubstr("sites"));
}

TEST(QuantRules, PlannedSitesGetTheirPoints) {
  const auto plans = plan(
      "rules: [{sites: 'activation:encoder.0.*', quantize: true, bits: 4},"
      " {sites: 'weight:*', quantize: true, bits: 8},"
      " {sites: 'activation:encoder.last.*', quantize: true, bits: 8,"
      "  granularity: token}]");
  SitePoints points(sites());
  apply_plan(plans, points);
  EXPECT_EQ(points.point(2)->spec.bits, 4);
  EXPECT_FALSE(points.point(2)->calibrated);
  EXPECT_TRUE(points.point(3)->calibrated);  // dynamic: nothing to calibrate
  EXPECT_EQ(points.point(0)->observer_name, "minmax");
}

TEST(QuantRules, GroupsOfSites) {
  const std::string groups =
      "{groups: {t: ['weight:embeddings.word'], g: ['activation:encoder.{layer}.ffn.gelu']}, ";
  const auto quantized = [&](const std::string& sites) {
    std::string found;
    const auto plans = plan(groups + "rules: [{sites: " + sites + ", quantize: true, bits: 8}]}");
    for (const SitePlan& site : plans) found += site.quantize ? 'x' : '.';
    return found;
  };
  EXPECT_EQ(quantized("'group:t'"), "x...");
  EXPECT_EQ(quantized("'group:g'"), "..xx");
  EXPECT_EQ(quantized("'group:g1'"), "...x");
  EXPECT_EQ(quantized("'group:g[0-2]'"), "..xx");
  EXPECT_EQ(quantized("['group:t', 'group:g0']"), "x.x.");
  const auto problem = [&](const std::string& sites) {
    return problems_of(groups + "rules: [{sites: " + sites + ", quantize: true, bits: 8}]}");
  };
  EXPECT_THAT(problem("'group:q'"), HasSubstr("no group \"q\"; known: g, t"));
  EXPECT_THAT(problem("'group:t3'"), HasSubstr("group \"t\" has no layers, found \"t3\""));
  EXPECT_THAT(problem("'group:g7'"),
              HasSubstr("pattern \"activation:encoder.7.ffn.gelu\" matches no site"));
  EXPECT_THAT(problems_of("{rules: [{sites: 'group:y', bits: 8}]}"),
              HasSubstr("include a file that does, such as placements/qualcomm.yaml"));
}

TEST(QuantRules, GroupsOfIncludedFiles) {
  const TemporaryFolder folder;
  const auto file = folder.write("placement.yaml",
                                 "groups: {g: ['activation:*.gelu'], t: ['weight:*']}\n"
                                 "rules: [{sites: 'group:g', quantize: true}]\n");
  // What the experiment says wins, in the rules of the file, too.
  const auto plans = plan("{include: " + file.string() +
                          ", groups: {g: ['activation:encoder.0.*']}, "
                          "rules: [{sites: ['group:g', 'group:t'], bits: 4}]}");
  EXPECT_TRUE(plans[2].quantize);
  EXPECT_FALSE(plans[3].quantize);
  EXPECT_EQ(plans[0].spec.bits, 4);
}

}  // namespace
}  // namespace quell

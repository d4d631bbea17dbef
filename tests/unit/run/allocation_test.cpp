#include "framework/run/allocation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <random>

#include "framework/base/file.h"
#include "tests/support/small_experiment.h"
#include "tests/support/throws.h"

namespace quell {
namespace {

using testing::HasSubstr;
using Groups = std::vector<std::vector<AllocationChoice>>;

double loss_of(const Groups& groups, const std::vector<size_t>& found) {
  double loss = 0;
  for (size_t i = 0; i < groups.size(); ++i) loss += groups[i][found[i]].loss;
  return loss;
}

int64_t cost_of(const Groups& groups, const std::vector<size_t>& found) {
  int64_t cost = 0;
  for (size_t i = 0; i < groups.size(); ++i) cost += groups[i][found[i]].cost;
  return cost;
}

// The best of all combinations.
double least_loss(const Groups& groups, int64_t budget, size_t group = 0, double loss = 0) {
  if (budget < 0) return std::numeric_limits<double>::infinity();
  if (group == groups.size()) return loss;
  double least = std::numeric_limits<double>::infinity();
  for (const AllocationChoice& choice : groups[group]) {
    least =
        std::min(least, least_loss(groups, budget - choice.cost, group + 1, loss + choice.loss));
  }
  return least;
}

// Losses are multiples of 1/8, so that sums do not depend on their order.
TEST(Allocate, FindsTheBestOfAllCombinations) {
  std::mt19937_64 draw(1);
  for (int round = 0; round < 200; ++round) {
    Groups groups(1 + draw() % 6);
    int64_t least = 0, most = 0;
    for (auto& choices : groups) {
      choices.resize(1 + draw() % 4);
      int64_t low = std::numeric_limits<int64_t>::max(), high = 0;
      for (AllocationChoice& choice : choices) {
        choice = {static_cast<double>(draw() % 64) / 8 - 1, static_cast<int64_t>(draw() % 40)};
        low = std::min(low, choice.cost);
        high = std::max(high, choice.cost);
      }
      least += low;
      most += high;
    }
    const int64_t budget = least + static_cast<int64_t>(draw() % (most - least + 1));
    const std::vector<size_t> found = allocate(groups, budget, "bytes");
    EXPECT_LE(cost_of(groups, found), budget);
    EXPECT_EQ(loss_of(groups, found), least_loss(groups, budget)) << "round " << round;
  }
}

TEST(Allocate, SaysWhatTheCheapestSettingsTake) {
  const Groups groups = {{{0, 5}, {1, 3}}, {{0, 4}}};
  EXPECT_EQ(allocate(groups, 7, "bytes"), (std::vector<size_t>{1, 0}));
  EXPECT_THAT(message_of<ConfigError>([&] { allocate(groups, 6, "bytes"); }),
              testing::AllOf(HasSubstr("6 bytes"), HasSubstr("take 7")));
}

class AllocateSettings : public testing::Test {
 protected:
  Allocation allocated(double average_bits, const std::string& metric = "output_error") {
    AllocationOptions options{
        .metric = metric, .kind = BudgetKind::kAverageBits, .budget = average_bits};
    options.sensitivity.grouping = SiteGrouping::kLayer;
    options.sensitivity.sites = {"weight:*"};
    return allocated(options);
  }
  Allocation allocated(AllocationOptions options) {
    const auto file = folder_.write("experiment.yaml", glue_experiment(folder_));
    const ExperimentSpec spec = load_experiment(file, {}, all_plugins());
    options.sensitivity.without = false;
    options.sensitivity.file = folder_ / "sensitivity.json";
    for (const char* text : {"bits: 2", "bits: 4", "bits: 8"}) {
      options.sensitivity.settings.push_back(read_setting(text, all_plugins()));
    }
    options.experiment = folder_ / "allocated.yaml";
    Log log(Verbosity::kQuiet);
    return allocate_settings(spec, options, all_plugins(), log);
  }

  TemporaryFolder folder_;
};

TEST_F(AllocateSettings, LosesLessWithMore) {
  double before = std::numeric_limits<double>::infinity();
  for (const double bits : {3.0, 5.0, 9.0}) {
    const Allocation found = allocated(bits);
    EXPECT_LE(found.cost, found.budget);
    double losses = 0;
    int64_t bytes = 0;
    for (const Allocation::Group& group : found.groups) {
      losses += group.loss;
      bytes += group.cost;
    }
    EXPECT_EQ(found.float_value, 0);
    EXPECT_DOUBLE_EQ(found.predicted, losses);
    EXPECT_EQ(found.cost, bytes);
    EXPECT_GT(found.measured, 0);
    EXPECT_LT(found.predicted, before) << bits;
    before = found.predicted;
  }
}

// 9 bits for each value are enough for 8, with the scales.
TEST_F(AllocateSettings, WritesAnExperimentWithWhatItFound) {
  const Allocation found = allocated(9);
  for (const Allocation::Group& group : found.groups) EXPECT_EQ(group.setting, "bits: 8");
  Experiment experiment("base: " + (folder_ / "allocated.yaml").string(), /*run=*/false);
  const std::vector<Site>& sites = experiment.bench().model->sites();
  for (size_t id = 0; id < sites.size(); ++id) {
    const SitePlan& plan = experiment.bench().plan[id];
    if (sites[id].kind != SiteKind::kWeight || !plan.quantize) continue;
    EXPECT_EQ(plan.spec.bits, 8) << sites[id].key();
  }
}

TEST_F(AllocateSettings, GoesOnWhereItWas) {
  const Allocation first = allocated(4);
  const std::string measured = read_file(folder_ / "sensitivity.json"),
                    experiment = read_file(folder_ / "allocated.yaml");
  std::filesystem::remove(folder_ / "allocated.yaml");
  const Allocation second = allocated(4);
  EXPECT_EQ(read_file(folder_ / "sensitivity.json"), measured);
  EXPECT_EQ(read_file(folder_ / "allocated.yaml"), experiment);
  EXPECT_EQ(second.measured, first.measured);
}

// Of one row: 6 bits, as the rules say, in front of each linear.
TEST_F(AllocateSettings, CountsBitOperations) {
  int64_t products = 0;
  {
    Experiment experiment(glue_experiment(folder_), /*run=*/false);
    const Bench& bench = experiment.bench();
    for (size_t id = 0; id < bench.plan.size(); ++id) {
      const Site& site = bench.model->sites()[id];
      if (site.kind != SiteKind::kWeight || site.role == "embedding" || !bench.plan[id].quantize) {
        continue;
      }
      const auto& shape = bench.model->weight_shape(static_cast<SiteId>(id));
      products += shape.at(0) * shape.at(1);
    }
  }
  AllocationOptions options{.metric = "output_error", .kind = BudgetKind::kBitOperations};
  options.sensitivity.sites = {"weight:*"};
  options.budget = static_cast<double>(products * 6 * 8);
  const Allocation whole = allocated(options);
  EXPECT_EQ(whole.unit, "bit operations");
  EXPECT_EQ(whole.cost, products * 6 * 8);
  options.budget /= 2;
  const Allocation half = allocated(options);
  EXPECT_LE(half.cost, products * 6 * 4);
  EXPECT_GT(half.predicted, whole.predicted);
  // Tables cost nothing here.
  EXPECT_EQ(half.groups.front().name, "weight:embedding");
  EXPECT_EQ(half.groups.front().setting, "bits: 8");
  EXPECT_EQ(half.groups.front().cost, 0);
  options.budget = static_cast<double>(products * 6 * 2 - 1);
  EXPECT_THAT(message_of<ConfigError>([&] { allocated(options); }), HasSubstr("bit operations"));
}

TEST_F(AllocateSettings, RefusesBitOperationsOfTwoChoices) {
  AllocationOptions options{
      .metric = "output_error", .kind = BudgetKind::kBitOperations, .budget = 1e9};
  EXPECT_THAT(message_of<ConfigError>([&] { allocated(options); }),
              HasSubstr("choose for weights with --sites 'weight:*' first"));
  options.sensitivity.sites = {"activation:*.probs"};
  std::filesystem::remove(folder_ / "sensitivity.json");
  EXPECT_THAT(message_of<ConfigError>([&] { allocated(options); }),
              HasSubstr("none of the chosen sites"));
}

TEST_F(AllocateSettings, RefusesWhatDoesNotExist) {
  EXPECT_THAT(message_of<ConfigError>([&] { allocated(4, "acuracy"); }),
              testing::AllOf(HasSubstr("no metric \"acuracy\""), HasSubstr("accuracy")));
  EXPECT_THAT(message_of<ConfigError>([&] { allocated(1); }), HasSubstr("no allocation meets"));
  for (const char* text : {"bitz: 4", "sites: '*'", "4", ""}) {
    EXPECT_THAT(message_of<ConfigError>([&] { read_setting(text, all_plugins()); }),
                HasSubstr("setting"))
        << text;
  }
}

}  // namespace
}  // namespace quell

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
    const std::vector<size_t> found = allocate(groups, budget);
    EXPECT_LE(cost_of(groups, found), budget);
    EXPECT_EQ(loss_of(groups, found), least_loss(groups, budget)) << "round " << round;
  }
}

TEST(Allocate, SaysWhatTheCheapestSettingsTake) {
  const Groups groups = {{{0, 5}, {1, 3}}, {{0, 4}}};
  EXPECT_EQ(allocate(groups, 7), (std::vector<size_t>{1, 0}));
  EXPECT_THAT(message_of<ConfigError>([&] { allocate(groups, 6); }),
              testing::AllOf(HasSubstr("6 bytes"), HasSubstr("take 7")));
}

class AllocateSettings : public testing::Test {
 protected:
  Allocation allocated(double average_bits, const std::string& metric = "output_error") {
    const auto file = folder_.write("experiment.yaml", glue_experiment(folder_));
    const ExperimentSpec spec = load_experiment(file, {}, all_plugins());
    AllocationOptions options;
    options.sensitivity.grouping = SiteGrouping::kLayer;
    options.sensitivity.without = false;
    options.sensitivity.sites = {"weight:*"};
    options.sensitivity.file = folder_ / "sensitivity.json";
    for (const char* text : {"bits: 2", "bits: 4", "bits: 8"}) {
      options.sensitivity.settings.push_back(read_setting(text, all_plugins()));
    }
    options.metric = metric;
    options.average_bits = average_bits;
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
    EXPECT_LE(found.bytes, found.budget_bytes);
    double losses = 0;
    int64_t bytes = 0;
    for (const Allocation::Group& group : found.groups) {
      losses += group.loss;
      bytes += group.bytes;
    }
    EXPECT_EQ(found.float_value, 0);
    EXPECT_DOUBLE_EQ(found.predicted, losses);
    EXPECT_EQ(found.bytes, bytes);
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

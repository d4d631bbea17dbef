// Commands of the published code of Bondarenko et al. (EMNLP 2021), imported and run on that code's
// inputs: permutations, the range of every quantizer, and the logits are those that it found.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/import/qualcomm.h"
#include "framework/import/qualcomm_command.h"
#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "framework/quant/scale_map.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

using nlohmann::json;

// As in qualcomm_test.cpp: sequences whose logits in float64 stay within kStable have to agree
// within kSameLogits, but for one in ten; the others hold a value next to a rounding tie.
constexpr double kStable = 1e-5;
constexpr double kSameLogits = 1e-4;
constexpr double kFlipped = 0.5;
constexpr double kShareOfStable = 0.9;
constexpr double kSameScale = 1e-5;
constexpr double kTie = 1e-3;
// Brent's method ends in one of several minima; which one, the rounding of float32 losses decides.
// Those of weights lie close to each other; behind activations it is another network, too.
constexpr double kSameBrent = 2e-3;
// Where the calibration sequence itself holds a value next to a tie, ranges behind it may be those
// of the other side: one step of an earlier quantizer away.
constexpr double kFlippedScale = 0.1;

// A model of the goldens: a copy here, all of them beside the repository.
struct Golden {
  std::string model, here, all;
};

const std::vector<Golden>& models() {
  static const std::vector<Golden> all = {{"bert_s0", "qualcomm", "goldens/qualcomm/bert_s0"},
                                          {"bert_h48", "qualcomm_h48", "goldens/qualcomm/bert_h48"},
                                          {"roberta_s0", "", "goldens/qualcomm/roberta_s0"}};
  return all;
}

struct Case {
  std::string name;  // "bert_s0_peg_xhy_k4_perm"
  std::string model;
  std::filesystem::path folder;  // with the model
  std::filesystem::path run;
};

std::vector<Case> cases() {
  std::vector<Case> found;
  for (const Golden& golden : models()) {
    const auto all = shared_folder() / golden.all, here = test_data() / "parity" / golden.here;
    const auto folder = std::filesystem::exists(all) ? all : here;
    if (golden.here.empty() && folder == here) continue;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string stem = entry.path().stem().string();
      if (!stem.starts_with("run_") || entry.path().extension() != ".json") continue;
      found.push_back({golden.model + "_" + stem.substr(4), golden.model, folder, entry.path()});
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Case& a, const Case& b) { return a.name < b.name; });
  return found;
}

// What our import does otherwise than the published code, on purpose.
bool differs_on_purpose(const std::string& name) {
  // There: no permutation, and averages that go on from the pass that looks for permutations.
  return name.ends_with("_perm_running");
}

class QualcommCommand : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { golden_ = read_json_file(GetParam().run); }

  ImportedExperiment imported() const {
    return import_qualcomm(published::shell_words(golden_.at("cmd").get<std::string>()),
                           {GetParam().folder.string(), "", all_plugins().models.names()});
  }
  std::string experiment_yaml(const std::string& imported) {
    const auto file = folder_.write("imported.yaml", imported);
    const bool permutes = imported.find("permute_groups") != std::string::npos;
    const std::string calibration = golden_.value("calibration", "cal1");
    std::vector<std::string> batches;
    for (int i = 0; permutes && i < 10; ++i) batches.push_back(fmt::format("cal4.{}", i));
    for (int i = 0; i < golden_.value("num_est_batches", 1); ++i) {
      batches.push_back(fmt::format("{}.{}", calibration, i));
    }
    return fmt::format(R"(
base: {}
threads: 1
task:
  type: tokens
  path: {}/inputs.safetensors
  calibration_keys: "{{}}.input_ids"
  calibration_batches: [{}]
  evaluation_keys: "eval.{{}}.input_ids"
  evaluation_batches: [0-3]
calibration: {{pad_to: 0}}
stages: [float, quantized]
record: {{site_errors: false}}
)",
                       file.string(), GetParam().folder.string(), fmt::join(batches, ", "));
  }

  json golden_;
  TemporaryFolder folder_;
};

std::vector<double> numbers(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kDouble).contiguous();
  const double* data = values.const_data_ptr<double>();
  return {data, data + values.numel()};
}

// One for each feature where there are several.
std::vector<double> per_feature(const QuantSpec& spec, const at::Tensor& scales, size_t features) {
  const auto own = numbers(scales);
  if (spec.granularity != Granularity::kFeatureGroups) return own;
  std::vector<double> all;
  for (size_t i = 0; i < features; ++i) {
    const size_t group =
        spec.feature_groups == nullptr
            ? i * own.size() / features
            : static_cast<size_t>(
                  spec.feature_groups->group_of()[static_cast<int64_t>(i)].item<int64_t>());
    all.push_back(own[group]);
  }
  return all;
}

struct Comparison {
  int quantizers = 0;
  int exact = 0;          // scale within kSameScale, the same zero point
  int other_minimum = 0;  // found by a search that ended elsewhere
  int flipped = 0;        // behind a value that rounds to the other side
};

// Largest relative difference.
double difference(const std::vector<double>& found, const std::vector<double>& published) {
  double largest = 0;
  for (size_t i = 0; i < published.size(); ++i) {
    largest = std::max(largest, std::abs(found[i] / std::max(published[i], 1e-8) - 1));
  }
  return largest;
}

// Whether every zero point is the published one, or next to it where that is a tie.
bool same_zero_points(const std::vector<double>& found, const std::vector<double>& exact,
                      double highest) {
  for (size_t i = 0; i < exact.size(); ++i) {
    const double step = std::abs(exact[i] - std::floor(exact[i]) - 0.5) < kTie ? 1 : 0;
    if (std::abs(found[i] - std::clamp(std::nearbyint(exact[i]), 0.0, highest)) > step)
      return false;
  }
  return true;
}

void compare(const SiteRecord& point, const json& quantizer, const SafetensorsFile& vectors,
             bool certain, Comparison& comparison) {
  const std::string name = quantizer["name"];
  const auto published = [&](const char* field) {
    const std::string key = name + "." + field;
    return vectors.contains(key) ? numbers(vectors.read(key))
                                 : std::vector<double>{quantizer.value(field, 0.0)};
  };
  const QuantSpec& spec = point.spec;
  EXPECT_EQ(spec.bits, quantizer["n_bits"].get<int64_t>()) << name;
  EXPECT_EQ(spec.symmetric, quantizer["method"] == "symmetric_uniform") << name;
  const auto scale = published("delta");
  const auto found = per_feature(spec, point.parameters.scale, scale.size());
  ASSERT_EQ(found.size(), scale.size()) << name;
  const double moved = difference(found, scale);
  const bool same =
      moved <= kSameScale &&
      (spec.symmetric ||
       same_zero_points(per_feature(spec, point.parameters.zero_point, scale.size()),
                        published("zero_float"), std::exp2(static_cast<double>(spec.bits)) - 1));
  ++comparison.quantizers;
  comparison.exact += same;
  if (same) return;
  const std::string estimator = quantizer["estimator"];
  if (estimator == "MSE_Estimator" || estimator == "CrossEntropyEstimator") {
    ++comparison.other_minimum;
    EXPECT_LE(moved, spec.is_weight ? kSameBrent : kFlippedScale) << name;
  } else {
    ++comparison.flipped;
    EXPECT_LE(moved, kFlippedScale) << name;
    EXPECT_FALSE(certain) << name;
  }
}

// The published order of a site's features, and the ranges that it follows from.
void compare_permutation(const Experiment& experiment, const json& quantizer,
                         const SafetensorsFile& vectors, int& permutations, int& moved) {
  const std::string name = quantizer["name"];
  if (!vectors.contains(name + ".perm")) return;
  const SiteRecord* point = experiment.point(name);
  if (point == nullptr) return;  // of a node that the code never quantizes
  ++permutations;
  ASSERT_NE(point->spec.feature_groups, nullptr) << name;
  const auto order = numbers(vectors.read(name + ".perm"));
  const auto ranges = numbers(vectors.read(name + ".perm_ranges"));
  const auto group_of = numbers(point->spec.feature_groups->group_of());
  const Record* record = nullptr;
  for (const Record& one : experiment.record().records) {
    if (one.name == experiment.record().sites[experiment.site(name)].name) record = &one;
  }
  ASSERT_NE(record, nullptr) << name;
  const auto found = numbers(record->column("range"));
  ASSERT_EQ(found.size(), ranges.size());
  const size_t size = order.size() / static_cast<size_t>(point->spec.groups);
  for (size_t i = 0; i < order.size(); ++i) {
    const auto feature = static_cast<size_t>(order[i]);
    moved += group_of[feature] != static_cast<double>(i / size);
    EXPECT_NEAR(found[feature], ranges[feature], 0.02 * std::abs(ranges[feature])) << name;
  }
}

TEST_P(QualcommCommand, GivesThePublishedRangesAndLogits) {
  const std::string name = GetParam().name;
  if (name.ends_with("per_token")) GTEST_SKIP() << "one range per position is no granularity here";
  const Experiment experiment(experiment_yaml(imported().yaml));
  std::filesystem::path beside = GetParam().run;
  const SafetensorsFile vectors(beside.replace_extension(".safetensors"));
  const json& conditioning = golden_["float64_rerun_max_abs_diff"];
  const bool certain = std::any_of(conditioning.begin(), conditioning.end(),
                                   [](const json& value) { return value < kStable; });
  Comparison comparison;
  int permutations = 0, moved = 0;
  for (const json& quantizer : golden_["quantizers"]) {
    if (!quantizer["enabled"].get<bool>()) continue;
    compare_permutation(experiment, quantizer, vectors, permutations, moved);
    const bool vector = vectors.contains(quantizer["name"].get<std::string>() + ".delta");
    const SiteRecord* point = experiment.point(quantizer["name"]);
    if (!vector && !quantizer.contains("delta")) {
      EXPECT_EQ(point, nullptr) << quantizer["name"] << " is never quantized there";
      continue;
    }
    ASSERT_NE(point, nullptr) << quantizer["name"];
    if (!differs_on_purpose(name)) compare(*point, quantizer, vectors, certain, comparison);
  }
  fmt::print(
      "{}: {} quantizers, {} the same, {} in another minimum, {} behind a flip; {} permutations\n",
      name, comparison.quantizers, comparison.exact, comparison.other_minimum, comparison.flipped,
      permutations);
  EXPECT_EQ(moved, 0) << "features in other groups";
  if (differs_on_purpose(name)) return;

  std::vector<at::Tensor> expected;
  for (int i = 0; i < 4; ++i) expected.push_back(vectors.read(fmt::format("q_logits.{}", i)));
  const auto differences = row_differences(experiment.logits(Stage::kQuantized), at::cat(expected));
  std::vector<double> stable;
  size_t sequence = 0;
  for (const json& batch : golden_["float64_rerun_per_sequence_max_abs_diff"]) {
    for (const json& moved_by : batch) {
      EXPECT_LE(differences.at(sequence), kFlipped) << "sequence " << sequence;
      if (moved_by.get<double>() < kStable) stable.push_back(differences[sequence]);
      ++sequence;
    }
  }
  fmt::print("  {} of {} stable sequences within {}\n",
             share_within(stable, kSameLogits) * static_cast<double>(stable.size()), stable.size(),
             kSameLogits);
  // Where a search ended in another minimum, everything behind it is another network.
  if (stable.empty() || comparison.other_minimum > 0) return;
  EXPECT_GE(share_within(stable, kSameLogits), kShareOfStable);
}

INSTANTIATE_TEST_SUITE_P(Goldens, QualcommCommand, testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace quell

// Both stages of token-wise clipping on BART, for its three uses.
//
// The coarse stage is compared with the sequence of operations that its definition gives: observe
// every ratio with a network of its own and run it. (The published code observes other rows of some
// sites, see bart_test.cpp, so its losses are others.) The fine stage starts from the published
// ranges and is compared with the published losses and scales.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "framework/io/safetensors.h"
#include "framework/json/json.h"
#include "framework/train/loss.h"
#include "tests/support/compare.h"
#include "tests/support/engine.h"
#include "tests/support/records.h"

namespace quell {
namespace {

using nlohmann::json;

struct Use {
  std::string name;       // "cls", "qa" or "gen"
  std::string placement;  // of its quantized tensors
  std::string targets;    // of the published code: question answering computes them anew
  int bits = 6;

  std::filesystem::path file(const std::string& file_name) const {
    return test_data() / "parity" / ("outlier_suppression_bart_" + name) / file_name;
  }
  std::string method() const { return fmt::format("twc_fine_gamma/b{}", bits); }
};

void PrintTo(const Use& use, std::ostream* out) { *out << use.name << use.bits; }

std::vector<Use> uses() {
  std::vector<Use> all;
  for (const int bits : {8, 6, 4}) {
    all.push_back({"cls", "outlier_suppression_bart_classification", "original", bits});
    all.push_back({"qa", "outlier_suppression_bart", "transformed", bits});
    all.push_back({"gen", "outlier_suppression_bart", "original", bits});
  }
  return all;
}

std::string quant(const Use& use, const std::string& observer) {
  return fmt::format(
      "{{include: placements/{}.yaml, rules: ["
      "{{sites: 'weight:*', bits: {}, symmetric: true, granularity: channel}},"
      "{{sites: 'activation:*', bits: {}, symmetric: false, observer: {}, quantizer: lsq_plus}}]}}",
      use.placement, use.bits, use.bits, observer);
}

std::vector<Batch> batches_of(const Use& use, int64_t padded_to = 0) {
  std::vector<std::string> keys;
  for (int i = 0; i < 4; ++i) keys.push_back(fmt::format("b{}.input_ids", i));
  return read_batches(use.file("inputs.safetensors"), keys, padded_to);
}

// A network whose pipeline has begun with gamma migration.
struct Migrated {
  Migrated(const Use& use, const std::string& observer, const std::vector<Batch>& batches)
      : network(use.file(""), quant(use, observer)),
        pipeline{network.model(), network.points(), batches, log} {
    const at::NoGradGuard no_gradients;
    original_outputs(pipeline);
    run(all_plugins().transforms.get("gamma_migration"), "{epsilon: 1.0e-5}");
  }
  template <class Entry>
  void run(const Entry& entry, const std::string& options) {
    entry.create(read_params(entry, options).get())->run(pipeline);
  }

  Log log{Verbosity::kQuiet};
  QuantizedNetwork network;
  PipelineContext pipeline;
};

class BartSearch : public testing::TestWithParam<Use> {};

TEST_P(BartSearch, LossesAreThoseOfNetworksOfTheirOwn) {
  const at::NoGradGuard no_gradients;
  const Use& use = GetParam();
  const std::vector<Batch> batches = batches_of(use);
  constexpr double kStep = 0.08;
  constexpr int kRatios = 8;
  const auto search = [&](const std::string& options) {
    Migrated migrated(use, "prune_minmax", batches);
    migrated.run(all_plugins().solvers.get("token_wise_clipping"),
                 fmt::format("{{step: {}, iterations: {}{}}}", kStep, kRatios, options));
    return searches(migrated.pipeline.records).at(0);
  };
  const SearchRecord found = search(", early_abandon: false");
  ASSERT_EQ(found.candidates.size(), static_cast<size_t>(kRatios));
  for (int i = 0; i < kRatios; ++i) {
    const double ratio = 1 - kStep * i;
    Migrated migrated(use, fmt::format("{{type: prune_minmax, ratio: {}}}", ratio), batches);
    migrated.network.calibrate(batches);
    const Pass pass = migrated.network.pass(false, true);
    double loss = 0;
    for (size_t batch = 0; batch < batches.size(); ++batch) {
      const Outputs outputs = migrated.network.model().forward(batches[batch], pass);
      const Outputs& targets = migrated.pipeline.float_outputs[batch];
      for (const auto& [name, target] : targets) {
        loss += (outputs.at(name) - target).to(at::kDouble).square().mean().item<double>();
      }
    }
    EXPECT_NEAR(found.candidates[static_cast<size_t>(i)].value, ratio, 1e-12);
    // Sums in float32 instead of double.
    EXPECT_NEAR(found.candidates[static_cast<size_t>(i)].loss, loss, 1e-5 * loss) << ratio;
  }
  const SearchRecord shorter = search("");
  EXPECT_EQ(shorter.chosen, found.chosen);
  const auto best = static_cast<size_t>(found.chosen);
  const double same = products_ignore_company() ? 0 : 1e-5 * found.candidates[best].loss;
  EXPECT_NEAR(shorter.candidates[best].loss, found.candidates[best].loss, same);
  for (const SearchCandidate& candidate : found.candidates) {
    EXPECT_GE(candidate.loss, found.candidates[best].loss);
  }
}

TEST_P(BartSearch, LearnsThePublishedScales) {
  const Use& use = GetParam();
  const std::vector<Batch> batches = batches_of(use, 32);
  Migrated migrated(use, "avg_minmax", batches);
  {
    const at::NoGradGuard no_gradients;
    migrated.network.calibrate(batches,
                               fmt::format("{{from: {}, entry: [\"{}\", coarse]}}",
                                           use.file("coarse.json").string(), use.method()));
    migrated.run(all_plugins().solvers.get("learn_scales"),
                 fmt::format("{{targets: {}}}", use.targets));
  }
  const json expected = read_json_file(use.file("learn_scale.json"))[use.method()];
  const LearningRecord record = learning(migrated.pipeline.records).at(0);
  const auto losses = expected["loss_of_step"].get<std::vector<double>>();
  ASSERT_EQ(record.loss.size(), losses.size());
  const bool repeats = rounds_as_published();
  // Other matrix products flip roundings, and trajectories part behind the first step.
  const size_t comparable = repeats ? losses.size() : 1;
  // 1e-5: scales that differ in their last bits. 2 %: one flipped rounding.
  const double same_loss = repeats ? 1e-5 : 0.02;
  for (size_t i = 0; i < losses.size(); ++i) {
    EXPECT_NEAR(record.learning_rate[i], expected["lr_of_step"][i].get<double>(), 1e-12) << i;
    if (i < comparable) {
      EXPECT_NEAR(record.loss[i], losses[i], same_loss * losses[i]) << i;
    }
  }
  const at::Tensor scales =
      SafetensorsFile(use.file("learn_scale.safetensors")).read(use.method() + "/scale");
  const auto order = expected["order"].get<std::vector<std::string>>();
  const double reach =
      std::accumulate(record.learning_rate.begin(), record.learning_rate.end(), 0.0);
  // Gradients are sums in double here and in float32 there, so steps differ in their last bits: a
  // fiftieth of the first step, 1e-5. A flipped rounding moves some scale by a whole one, and no
  // scale goes further than the sum of all steps, there and here.
  const double same_scale = repeats ? 2e-7 : 2 * reach;
  for (size_t i = 0; i < order.size(); ++i) {
    const double scale =
        migrated.network.point(order[i]).quantizer->parameters().scale.item<double>();
    EXPECT_NEAR(scale, scales[-1][static_cast<int64_t>(i)].item<double>(), same_scale) << order[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Uses, BartSearch, testing::ValuesIn(uses()), [](const auto& test) {
  return fmt::format("{}_b{}", test.param.name, test.param.bits);
});

}  // namespace
}  // namespace quell

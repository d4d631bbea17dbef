// The loss of searches against full passes of the network, and that nothing it saves moves a bit.
#include <gtest/gtest.h>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/mse_loss.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "framework/solve/output_loss.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

constexpr float kNoLimit = std::numeric_limits<float>::infinity();
constexpr int64_t kPlenty = 1 << 30;

class OutputLossTest : public testing::Test {
 protected:
  OutputLossTest() {
    network_.calibrate(batches_);
    for (const char* name : {"activation:encoder.0.ffn.gelu", "activation:encoder.2.ffn.gelu"}) {
      varied_.push_back(network_.site(name));
    }
    original_outputs(context_);
    pass_.emplace(network_.pass(false, true));
  }

  // Ranges of the two varied sites.
  void set(float first, float second) {
    for (size_t i = 0; i < 2; ++i) {
      const float reach = i == 0 ? first : second;
      network_.points()
          .point(varied_[i])
          ->quantizer->init({at::full({1}, -0.2f), at::full({1}, reach)});
    }
  }

  std::vector<float> losses_of_full_passes() {
    std::vector<float> losses;
    for (size_t i = 0; i < batches_.size(); ++i) {
      const Outputs outputs = network_.model().forward(batches_[i], *pass_);
      losses.push_back(
          at::mse_loss(outputs.at("logits"), context_.float_outputs[i].at("logits")).item<float>());
    }
    return losses;
  }

  float full_loss() {
    float sum = 0;
    for (const float loss : losses_of_full_passes()) sum += loss;
    return sum;
  }

  // Sequences run in other company than in their batches.
  static void expect_same(float found, float expected, const std::string& what = "") {
    static const float tolerance = products_ignore_company() ? 0 : 1e-5f;
    EXPECT_LE(std::abs(found - expected), tolerance * expected) << found << " " << expected << what;
  }

  const at::NoGradGuard no_gradients_;
  const std::filesystem::path folder_ = test_data() / "parity/outlier_suppression";
  const std::vector<Batch> batches_ =
      read_batches(folder_ / "inputs.safetensors",
                   {"b1.input_ids", "b0.input_ids", "b2.input_ids", "b3.input_ids"});
  QuantizedNetwork network_{folder_,
                            "{include: placements/outlier_suppression.yaml,"
                            " rules: [{sites: ['weight:*', 'activation:*'], bits: 4}]}"};
  Log log_{Verbosity::kQuiet};
  PipelineContext context_{network_.model(), network_.points(), batches_, log_};
  std::optional<Pass> pass_;  // with quantized activations
  std::vector<SiteId> varied_;
};

constexpr std::pair<float, float> kSettings[] = {{9, 9}, {9, 4}, {9, 3}, {5, 3}, {5, 8}, {9, 8}};

TEST_F(OutputLossTest, EqualsFullPassesBitForBit) {
  for (const auto& [cache, sequences] :
       {std::pair<int64_t, int64_t>{0, 8}, {20'000, 8}, {kPlenty, 8}, {kPlenty, 3}, {20'000, 4}}) {
    OutputLoss loss(context_, *pass_, original_outputs(context_), varied_, {cache, sequences});
    for (const auto& [first, second] : kSettings) {
      set(first, second);
      const auto found = loss.evaluate(kNoLimit);
      expect_same(found.loss, full_loss(), fmt::format(" {} {}", cache, sequences));
      EXPECT_EQ(found.batches, 4);
    }
  }
}

TEST_F(OutputLossTest, ResumesFromTheFirstSegmentThatChanged) {
  OutputLoss loss(context_, *pass_, original_outputs(context_), varied_, {kPlenty});
  set(9, 9);
  loss.evaluate(kNoLimit);
  EXPECT_EQ(loss.effort().segments, 4 * 5);  // embeddings, three layers, head; four batches
  set(9, 4);                                 // the last layer: it and the head run again
  loss.evaluate(kNoLimit);
  EXPECT_EQ(loss.effort().segments, 4 * 7);
  EXPECT_EQ(loss.effort().resumed_segments, 4 * 3);
  set(5, 4);  // the first layer: everything but the embeddings
  loss.evaluate(kNoLimit);
  EXPECT_EQ(loss.effort().segments, 4 * 11);
}

TEST_F(OutputLossTest, RunsASettingOnce) {
  OutputLoss loss(context_, *pass_, original_outputs(context_), varied_, {kPlenty});
  set(9, 9);
  const float first = loss.evaluate(kNoLimit).loss;
  set(5, 5);
  loss.evaluate(kNoLimit);
  const int64_t segments = loss.effort().segments;
  set(9, 9);
  EXPECT_EQ(loss.evaluate(kNoLimit).loss, first);
  EXPECT_EQ(loss.effort().segments, segments);
  EXPECT_EQ(loss.effort().repeated, 1);
}

TEST_F(OutputLossTest, GivesUpAtTheLimit) {
  set(2, 2);
  const std::vector<float> losses = losses_of_full_passes();
  const float two = losses[0] + losses[1];
  OutputLoss loss(context_, *pass_, original_outputs(context_), varied_, {kPlenty});
  const auto found = loss.evaluate(two);
  EXPECT_EQ(found.batches, 2);
  EXPECT_EQ(found.loss, two);
  // A higher limit goes on from there.
  EXPECT_EQ(loss.evaluate(kNoLimit).loss, full_loss());
  EXPECT_EQ(loss.effort().sequences, 32);
  // What is known answers a lower limit, too.
  EXPECT_GE(loss.evaluate(two).loss, two);
  EXPECT_EQ(loss.effort().sequences, 32);
}

TEST_F(OutputLossTest, SequencesThatAddMuchComeFirst) {
  OutputLoss loss(context_, *pass_, original_outputs(context_), varied_, {kPlenty});
  set(9, 9);
  loss.evaluate(kNoLimit);
  set(2, 2);
  const std::vector<float> losses = losses_of_full_passes();
  const auto found = loss.evaluate(std::numeric_limits<float>::denorm_min());
  EXPECT_EQ(loss.effort().sequences, 32 + 8);
  EXPECT_EQ(found.batches, 0) << "of several batches";
  EXPECT_GT(found.loss, *std::max_element(losses.begin(), losses.end()))
      << "eight sequences as they come, a batch, would pass this test too";
}

// A lower bound while parts of a batch are missing, and work for no more than those that it needs.
TEST_F(OutputLossTest, GivesUpWithinABatch) {
  set(2, 2);
  const std::vector<float> losses = losses_of_full_passes();
  const float full = full_loss();
  for (const float share : {0.01f, 0.2f, 0.5f, 0.9f, 0.9999f, 1.0f}) {
    OutputLoss loss(context_, *pass_, original_outputs(context_), varied_, {kPlenty, 2});
    const float limit = share * full;
    const auto found = loss.evaluate(limit);
    EXPECT_GE(found.loss, limit);
    if (found.batches == 4) {
      expect_same(found.loss, full);
    } else {
      EXPECT_LT(found.loss, full) << share;
    }
    if (share < 0.02f) {
      EXPECT_EQ(loss.effort().sequences, 2);
      EXPECT_EQ(found.batches, 0);
      EXPECT_LT(found.loss, losses[0]);
    }
    expect_same(loss.evaluate(kNoLimit).loss, full);
    EXPECT_EQ(loss.effort().sequences, 32) << "every sequence once";
  }
}

// Everything but sequences that add nothing is counted, and the limit is the whole loss itself:
// sums of shares round differently from it, and must not reach it.
TEST_F(OutputLossTest, RoundingDoesNotGiveUpAtTheWholeLoss) {
  set(2, 2);
  std::vector<Outputs> targets = original_outputs(context_);
  const at::Tensor last = network_.model().forward(batches_[3], *pass_).at("logits");
  targets[3]["logits"] = targets[3]["logits"].clone();
  targets[3]["logits"].narrow(0, 4, 4).copy_(last.narrow(0, 4, 4));
  OutputLoss whole(context_, *pass_, targets, varied_, {kPlenty, 4});
  const float full = whole.evaluate(kNoLimit).loss;
  OutputLoss loss(context_, *pass_, targets, varied_, {kPlenty, 4});
  const auto found = loss.evaluate(full);
  EXPECT_EQ(found.batches, 4);
  EXPECT_EQ(found.loss, full);
}

TEST_F(OutputLossTest, GivesUpAtNaN) {
  std::vector<Outputs> targets = original_outputs(context_);
  targets[0]["logits"] = at::full_like(targets[0]["logits"], std::nanf(""));
  OutputLoss loss(context_, *pass_, std::move(targets), varied_, {kPlenty});
  set(2, 2);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(std::isnan(loss.evaluate(kNoLimit).loss));
    EXPECT_EQ(loss.effort().sequences, 8);
  }
}

TEST_F(OutputLossTest, ReplaysAStoppedSearch) {
  constexpr float kLimits[] = {kNoLimit, 1e-3f, 2e-3f, kNoLimit, 1e-3f, kNoLimit};
  constexpr size_t kStop = 3;
  for (const int64_t part : {8, 3}) {
    OutputLoss whole(context_, *pass_, original_outputs(context_), varied_, {kPlenty, part});
    std::vector<std::pair<float, int64_t>> expected;
    std::vector<float> stopped;
    int64_t sequences_before = 0;
    for (size_t i = 0; i < std::size(kSettings); ++i) {
      if (i == kStop) {
        stopped = whole.losses();
        sequences_before = whole.effort().sequences;
      }
      set(kSettings[i].first, kSettings[i].second);
      const auto found = whole.evaluate(kLimits[i]);
      expected.emplace_back(found.loss, found.batches);
    }
    // What was given up before the stop goes on after it.
    set(kSettings[1].first, kSettings[1].second);
    const float continued = whole.evaluate(kNoLimit).loss;

    OutputLoss resumed(context_, *pass_, original_outputs(context_), varied_, {kPlenty, part},
                       stopped);
    for (size_t i = 0; i < std::size(kSettings); ++i) {
      set(kSettings[i].first, kSettings[i].second);
      const auto found = resumed.evaluate(kLimits[i]);
      expect_same(found.loss, expected[i].first);
      EXPECT_EQ(found.batches, expected[i].second) << i;
      if (i == kStop - 1) {
        EXPECT_EQ(resumed.effort().sequences, 0);
      }
    }
    const int64_t rest = whole.effort().sequences - sequences_before;
    set(kSettings[1].first, kSettings[1].second);
    expect_same(resumed.evaluate(kNoLimit).loss, continued);
    const std::vector<float> losses = resumed.losses();
    ASSERT_EQ(losses.size(), whole.losses().size());
    for (size_t i = 0; i < losses.size(); ++i) expect_same(losses[i], whole.losses()[i]);
    // Batches of which some outputs were not kept run again when they become whole.
    EXPECT_GE(resumed.effort().sequences, rest);
    EXPECT_LE(resumed.effort().sequences, rest + 32);
  }
}

TEST_F(OutputLossTest, DoesNotDependOnThreads) {
  std::vector<std::pair<float, int64_t>> alone, together;
  for (const int threads : {1, 4}) {
    at::set_num_threads(threads);
    OutputLoss loss(context_, *pass_, original_outputs(context_), varied_, {kPlenty, 3});
    float best = kNoLimit;
    for (const auto& [first, second] : kSettings) {
      set(first, second);
      const auto found = loss.evaluate(best);
      if (found.batches == 4) best = std::min(best, found.loss);
      (threads == 1 ? alone : together).emplace_back(found.loss, found.batches);
    }
  }
  at::set_num_threads(1);
  EXPECT_EQ(alone, together);
}

}  // namespace
}  // namespace quell

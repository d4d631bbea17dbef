#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <set>

#include "framework/base/draw.h"
#include "support.h"
#include "tasks/data/batching.h"

namespace quell {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Draw, IsTheSameEverywhere) {
  // Worked out with an own Python implementation of mt19937-64 and the documented steps.
  EXPECT_THAT(draw_without_replacement(10, 10, 42), ElementsAre(6, 0, 4, 7, 9, 8, 1, 3, 5, 2));
  EXPECT_THAT(draw_without_replacement(67349, 5, 7), ElementsAre(22317, 51, 28556, 58337, 32365));
}

TEST(Draw, IsWithoutReplacementAndASeedsPrefix) {
  const auto all = draw_without_replacement(1000, 1000, 3);
  EXPECT_EQ(std::set<int64_t>(all.begin(), all.end()).size(), 1000u);
  const auto some = draw_without_replacement(1000, 100, 3);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin()));
  EXPECT_NE(draw_without_replacement(1000, 100, 4), some);
  EXPECT_TRUE(draw_without_replacement(5, 0, 1).empty());
}

std::vector<TokenSequence> sequences_of_lengths(const std::vector<int64_t>& lengths) {
  std::vector<TokenSequence> sequences;
  for (int64_t length : lengths) sequences.push_back({std::vector<int64_t>(length, length), {}});
  return sequences;
}

TEST(Batching, SortsByLengthStably) {
  EXPECT_THAT(longest_first(sequences_of_lengths({2, 5, 2, 9, 5})), ElementsAre(3, 1, 4, 0, 2));
}

TEST(Batching, GroupsInOrder) {
  const auto sequences = sequences_of_lengths({2, 5, 1});
  const std::vector<int64_t> order = {1, 2, 0};
  const auto batches = make_batches(sequences, order, 2);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_THAT(batches[0].example_ids, ElementsAre(1, 2));
  EXPECT_THAT(batches[0].offsets, ElementsAre(0, 5, 6));
  EXPECT_THAT(batches[1].example_ids, ElementsAre(0));
}

TEST(Batching, OutputsReturnToTheirExamples) {
  const auto sequences = sequences_of_lengths({1, 3, 2});
  const std::vector<int64_t> order = {1, 2, 0};
  const auto batches = make_batches(sequences, order, 2, /*keep_padding_to=*/4);
  int64_t finished = 0;
  const auto outputs = collect_outputs(
      batches, 3, {[](const Batch& batch) {
        at::Tensor logits = at::full({batch.sequences(), 2}, 0.5);
        for (int64_t i = 0; i < batch.sequences(); ++i) logits[i][1] = batch.example_ids[i];
        return Outputs{{"logits", logits}, {"start", batch.position_ids.to(at::kFloat)}};
      }},
      [&](int64_t count) { finished += count; });
  EXPECT_EQ(finished, 3);
  EXPECT_THAT(outputs[0].at("logits"), ElementsAre(0.5f, 0.0f));
  EXPECT_THAT(outputs[2].at("logits"), ElementsAre(0.5f, 2.0f));
  EXPECT_THAT(outputs[1].at("start"), ElementsAre(0.0f, 1.0f, 2.0f));  // no padding
}

TEST(Batching, RefusesOutputsThatAreNotFinite) {
  const auto batches = make_batches(sequences_of_lengths({1, 3}), std::vector<int64_t>{1, 0}, 1);
  const auto predict = [](const Batch& batch) {
    const double value = batch.example_ids[0] == 0 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    return Outputs{{"logits", at::full({1, 2}, value)}};
  };
  EXPECT_THAT(message_of<Error>([&] { collect_outputs(batches, 2, {predict}, [](int64_t) {}); }),
              HasSubstr("output \"logits\" of batch 1, example 0, is nan"));
}

TEST(Batching, RefusesOutputsOfAnotherShape) {
  const auto batches = make_batches(sequences_of_lengths({1, 3}), std::vector<int64_t>{0, 1}, 2);
  const auto predict = [](const Batch&) { return Outputs{{"logits", at::full({3, 2}, 1.0)}}; };
  EXPECT_THAT(message_of<Error>([&] { collect_outputs(batches, 2, {predict}, [](int64_t) {}); }),
              HasSubstr("shape [3, 2]; expected 2 rows (sequences) or 4 rows (tokens)"));
}

TEST(Batching, TheFirstLargestWins) {
  EXPECT_EQ(argmax(std::vector<float>{1.0f, 3.0f, 3.0f}), 1);
  EXPECT_EQ(argmax(std::vector<float>{-2.0f}), 0);
}

}  // namespace
}  // namespace quell

// Sequences of several batches as one batch.
#include <gtest/gtest.h>

#include <ATen/ops/tensor.h>
#include <vector>

#include "framework/model/gather.h"

namespace quell {
namespace {

std::vector<Batch> two_batches(int64_t keep_padding_to = 0) {
  const std::vector<TokenSequence> first = {{{1, 2, 3}, {0, 0, 1}}, {{4, 5}, {0, 1}}};
  const std::vector<TokenSequence> second = {{{6, 7, 8, 9}, {1, 1, 0, 0}}};
  std::vector<Batch> batches = {pack(first, keep_padding_to), pack(second, keep_padding_to)};
  batches[0].labels = at::tensor({7, 8}, at::kLong);
  batches[1].labels = at::tensor({9}, at::kLong);
  batches[0].example_ids = {10, 11};
  batches[1].example_ids = {12};
  return batches;
}

std::vector<int64_t> values(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

TEST(Gather, TakesSequencesInTheGivenOrder) {
  const std::vector<BatchSequence> chosen = {{1, 0}, {0, 1}};
  const Batch batch = gather(two_batches(), chosen);
  EXPECT_EQ(values(batch.token_ids), (std::vector<int64_t>{6, 7, 8, 9, 4, 5}));
  EXPECT_EQ(values(batch.segment_ids), (std::vector<int64_t>{1, 1, 0, 0, 0, 1}));
  EXPECT_EQ(values(batch.position_ids), (std::vector<int64_t>{0, 1, 2, 3, 0, 1}));
  EXPECT_EQ(batch.offsets, (std::vector<int64_t>{0, 4, 6}));
  EXPECT_EQ(batch.valid_lengths, (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(values(batch.labels), (std::vector<int64_t>{9, 8}));
  EXPECT_EQ(batch.example_ids, (std::vector<int64_t>{12, 11}));
  EXPECT_FALSE(batch.start_positions.defined());
}

TEST(DropPadding, LeavesWhatIsReal) {
  Batch padded = two_batches(5)[0];
  padded.padding_unobserved = true;
  const Batch batch = drop_padding(padded), expected = two_batches()[0];
  EXPECT_EQ(values(batch.token_ids), values(expected.token_ids));
  EXPECT_EQ(values(batch.segment_ids), values(expected.segment_ids));
  EXPECT_EQ(values(batch.position_ids), values(expected.position_ids));
  EXPECT_EQ(batch.offsets, expected.offsets);
  EXPECT_EQ(batch.valid_lengths, expected.valid_lengths);
  EXPECT_EQ(values(batch.labels), values(expected.labels));
  EXPECT_EQ(batch.example_ids, expected.example_ids);
  EXPECT_FALSE(batch.keeps_padding());
  EXPECT_FALSE(batch.padding_unobserved);
}

TEST(Gather, AttentionHasTheMostColumnsOfAll) {
  std::vector<Batch> batches = two_batches();
  const std::vector<BatchSequence> chosen = {{0, 1}};
  EXPECT_EQ(gather(batches, chosen).pad_to, 4);
  batches[0].pad_to = 9;
  EXPECT_EQ(gather(batches, chosen).pad_to, 9);
}

TEST(Gather, KeepsPadding) {
  std::vector<Batch> batches = two_batches(5);
  for (Batch& batch : batches) batch.padding_unobserved = true;
  const std::vector<BatchSequence> chosen = {{1, 0}, {0, 0}};
  const Batch batch = gather(batches, chosen);
  EXPECT_EQ(batch.offsets, (std::vector<int64_t>{0, 5, 10}));
  EXPECT_EQ(batch.valid_lengths, (std::vector<int64_t>{4, 3}));
  EXPECT_TRUE(batch.padding_unobserved);
}

}  // namespace
}  // namespace quell

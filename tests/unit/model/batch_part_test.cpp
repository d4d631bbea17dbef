// Parts of a batch against the batch itself.
#include <gtest/gtest.h>

#include <ATen/ops/tensor.h>
#include <vector>

#include "framework/model/batch_part.h"

namespace quell {
namespace {

Batch batch_of_three(int64_t keep_padding_to) {
  const std::vector<TokenSequence> sequences = {
      {{1, 2, 3}, {0, 0, 1}}, {{4, 5}, {0, 1}}, {{6, 7, 8, 9}, {1, 1, 0, 0}}};
  Batch batch = pack(sequences, keep_padding_to);
  batch.labels = at::tensor({7, 8, 9}, at::kLong);
  batch.example_ids = {10, 11, 12};
  return batch;
}

std::vector<int64_t> values(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

TEST(BatchPart, HoldsTheSequencesAsTheyAre) {
  const Batch part = part_of(batch_of_three(0), 1, 2);
  EXPECT_EQ(values(part.token_ids), (std::vector<int64_t>{4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(values(part.segment_ids), (std::vector<int64_t>{0, 1, 1, 1, 0, 0}));
  EXPECT_EQ(values(part.position_ids), (std::vector<int64_t>{0, 1, 0, 1, 2, 3}));
  EXPECT_EQ(part.offsets, (std::vector<int64_t>{0, 2, 6}));
  EXPECT_EQ(part.valid_lengths, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(values(part.labels), (std::vector<int64_t>{8, 9}));
  EXPECT_EQ(part.example_ids, (std::vector<int64_t>{11, 12}));
}

TEST(BatchPart, KeepsTheColumnsOfTheBatch) {
  Batch batch = batch_of_three(0);
  EXPECT_EQ(part_of(batch, 1, 1).pad_to, 4) << "of its longest sequence";
  batch.pad_to = 9;
  EXPECT_EQ(part_of(batch, 1, 1).pad_to, 9);
}

TEST(BatchPart, KeepsPadding) {
  Batch batch = batch_of_three(5);
  batch.padding_unobserved = true;
  const Batch part = part_of(batch, 0, 2);
  EXPECT_EQ(part.offsets, (std::vector<int64_t>{0, 5, 10}));
  EXPECT_EQ(part.valid_lengths, (std::vector<int64_t>{3, 2}));
  EXPECT_TRUE(part.padding_unobserved);
}

TEST(BatchPart, AllOfABatchIsTheBatch) {
  const Batch batch = batch_of_three(0), part = part_of(batch, 0, 3);
  EXPECT_TRUE(part.token_ids.equal(batch.token_ids));
  EXPECT_EQ(part.offsets, batch.offsets);
}

}  // namespace
}  // namespace quell

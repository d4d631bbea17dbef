// Rows without padding.
#include <gtest/gtest.h>

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>

#include "framework/quant/real_rows.h"

namespace quell {
namespace {

// Two sequences of three positions, with two real tokens and one.
const RealRows& two_sequences() {
  static const RealRows rows(std::vector<int64_t>{0, 3, 6}, std::vector<int64_t>{2, 1});
  return rows;
}

at::Tensor numbered(int64_t rows) { return at::arange(rows, at::kFloat).view({rows, 1}); }

TEST(RealRows, OfTokens) {
  const at::Tensor expected = at::tensor({0.f, 1.f, 3.f}).view({3, 1});
  EXPECT_TRUE(two_sequences().of(numbered(6), 0).equal(expected));
}

// [heads, queries] of the first sequence, then those of the second.
TEST(RealRows, OfAttentionMatrices) {
  const at::Tensor expected = at::tensor({0.f, 1.f, 3.f, 4.f, 6.f, 9.f}).view({6, 1});
  EXPECT_TRUE(two_sequences().of(numbered(12), 2).equal(expected));
}

TEST(RealRows, OfSequencesAreAll) {
  EXPECT_TRUE(two_sequences().of(numbered(2), 0).equal(numbered(2)));
}

}  // namespace
}  // namespace quell

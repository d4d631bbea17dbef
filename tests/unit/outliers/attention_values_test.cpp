// Attention matrices without the columns that pad them, and where their probabilities go.
#include "framework/outliers/attention_values.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/engine.h"

namespace quell {
namespace {

constexpr int64_t kHeads = 2;

// Sequences of 3 and 2 tokens.
Batch two_sequences() {
  const std::vector<TokenSequence> sequences = {{{5, 6, 7}, {}}, {{8, 9}, {}}};
  return pack(sequences);
}

// Value (head, query, key) of a sequence is a number of its own.
float value(int64_t sequence, int64_t head, int64_t query, int64_t key) {
  return static_cast<float>(1000 * (sequence + 1) + 100 * head + 10 * query + key);
}

// As a tap sees them: [heads * queries, columns], a sequence's heads one after another.
at::Tensor rows_of_equal_widths(const Batch& batch, int64_t columns) {
  at::Tensor rows = at::full({kHeads * batch.tokens(), columns}, -1.0F);
  int64_t row = 0;
  for (int64_t i = 0; i < batch.sequences(); ++i) {
    for (int64_t head = 0; head < kHeads; ++head) {
      for (int64_t query = 0; query < batch.length(i); ++query, ++row) {
        for (int64_t key = 0; key < batch.length(i); ++key) {
          rows[row][key] = value(i, head, query, key);
        }
      }
    }
  }
  return rows;
}

TEST(AttentionValues, LeavesPaddingColumnsOut) {
  const Batch batch = two_sequences();
  const at::Tensor wide = rows_of_equal_widths(batch, 8);
  const AttentionValues found = attention_values(batch, {}, kHeads, wide);
  EXPECT_EQ(found.size(), kHeads * (9 + 4));
  EXPECT_EQ(found.queries, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(found.keys, (std::vector<int64_t>{3, 2}));
  int64_t at = 0;
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(found.begin[i], at);
    for (int64_t head = 0; head < kHeads; ++head) {
      for (int64_t query = 0; query < batch.length(i); ++query) {
        for (int64_t key = 0; key < batch.length(i); ++key) {
          ASSERT_EQ(found.values[at++], value(i, head, query, key));
        }
      }
    }
  }
  EXPECT_EQ(at, found.size());
  // Compact ones are taken as they are.
  const at::Tensor compact = at::from_blob(const_cast<float*>(found.values), {at, 1}).clone();
  const AttentionValues same = attention_values(batch, {}, kHeads, compact);
  EXPECT_EQ(same.values, compact.const_data_ptr<float>());
}

TEST(AttentionValues, SidesFollowFromTheSite) {
  QuantizedNetwork network(test_data() / "parity/outlier_suppression_bart_gen", "{rules: []}");
  const auto sides = [&](const std::string& name) {
    const SiteId site = network.site("activation:" + name);
    return attention_sides(network.model().sites()[static_cast<size_t>(site)]);
  };
  EXPECT_FALSE(sides("encoder.0.attention.probs").target_queries);
  EXPECT_FALSE(sides("encoder.0.attention.probs").target_keys);
  EXPECT_TRUE(sides("decoder.0.attention.probs").target_queries);
  EXPECT_TRUE(sides("decoder.0.attention.probs").target_keys);
  EXPECT_TRUE(sides("decoder.0.cross_attention.probs").target_queries);
  EXPECT_FALSE(sides("decoder.0.cross_attention.probs").target_keys);
}

TEST(AttentionValues, QueriesAndKeysMayBeOfDifferentSides) {
  Batch batch = two_sequences();
  const std::vector<TokenSequence> targets = {{{1}, {}}, {{2, 3, 4}, {}}};
  pack_decoder(batch, targets);
  // Sequence by sequence heads x queries x keys: 1 x 3 and 3 x 2.
  const at::Tensor compact = at::arange(kHeads * (1 * 3 + 3 * 2)).to(at::kFloat).view({-1, 1});
  const AttentionValues found = attention_values(batch, {true, false}, kHeads, compact);
  EXPECT_EQ(found.queries, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(found.keys, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(found.begin, (std::vector<int64_t>{0, 6, 18}));
}

TEST(AttentionSums, AreMeansOverQueries) {
  const Batch batch = two_sequences();
  CalibrationTokens tokens = calibration_tokens(std::vector<Batch>{batch}, nullptr);
  tokens.tokens.kinds.assign(5, TokenKind::kOther);
  tokens.tokens.kinds[2] = tokens.tokens.kinds[4] = TokenKind::kSeparator;
  const AttentionValues values =
      attention_values(batch, {}, kHeads, rows_of_equal_widths(batch, 3));
  AttentionSums sums;
  sums.add(values, batch, {}, tokens.tokens, 0);
  const AttentionMass mean = sums.mean();
  for (int64_t head = 0; head < kHeads; ++head) {
    double first = 0, last = 0;
    for (int64_t i = 0; i < 2; ++i) {
      for (int64_t query = 0; query < batch.length(i); ++query) {
        first += value(i, head, query, 0) / 5.0;
        last += value(i, head, query, batch.length(i) - 1) / 5.0;
      }
    }
    EXPECT_DOUBLE_EQ(mean.first[head], first);
    EXPECT_DOUBLE_EQ(mean.last[head], last);
    EXPECT_DOUBLE_EQ(mean.separators[head], last);  // both end with one
  }
}

}  // namespace
}  // namespace quell

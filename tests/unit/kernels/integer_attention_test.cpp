// Attention by codes against float attention whose sums are exact, and against sums in 64 bits.
#include "framework/kernels/integer_attention.h"

#include <algorithm>
#include <cmath>

#include "framework/kernels/quantize_codes.h"
#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

// Codes of 8 bits on grids whose scales are powers of two: each product and each sum of fewer than
// 256 of them is a float32 number, so that float attention rounds nowhere but in the softmax.
struct Problem {
  int64_t heads = 4, key_heads = 4, head_size = 16;
  bool causal = false;
  std::vector<float> slopes = {};
  std::optional<MatrixGrid> scores = {};
  OutputGrid probs = {0x1p-8f, 3, 255};
  std::vector<AttentionSequence> sequences = {};
  std::vector<uint8_t> query = {}, key = {}, value = {};
  std::mt19937 random = std::mt19937(11);

  void add(int64_t queries, int64_t keys, int64_t valid_keys) {
    int64_t first_query = 0, first_key = 0;
    if (!sequences.empty()) {
      const AttentionSequence& last = sequences.back();
      first_query = last.first_query + last.queries;
      first_key = last.first_key + last.keys;
    }
    sequences.push_back({first_query, queries, first_key, keys, valid_keys});
    // Every third code is an extreme.
    const auto code = [&] {
      return static_cast<uint8_t>(random() % 3 == 0 ? 255 * (random() % 2) : random() % 256);
    };
    for (int64_t i = 0; i < queries * heads * head_size; ++i) query.push_back(code());
    for (int64_t i = 0; i < keys * key_heads * head_size; ++i) {
      key.push_back(code());
      value.push_back(code());
    }
  }

  IntegerAttentionOperands operands() const {
    return {.query = {query.data(), heads * head_size, 0x1p-6f, 119},
            .key = {key.data(), key_heads * head_size, 0x1p-7f, 140},
            .value = {value.data(), key_heads * head_size, 0x1p-5f, 97},
            .heads = heads,
            .key_heads = key_heads,
            .head_size = head_size,
            .factor = 0.37f,
            .slopes = slopes.empty() ? nullptr : slopes.data(),
            .causal = causal,
            .scores = scores,
            .probs = probs};
  }

  std::vector<float> in_float() const {
    const IntegerAttentionOperands of = operands();
    const auto values_of = [](const HeadCodes& codes, const std::vector<uint8_t>& all) {
      std::vector<float> values;
      for (const uint8_t one : all) {
        values.push_back((static_cast<float>(one) - codes.zero_point) * codes.scale);
      }
      return values;
    };
    const std::vector<float> q = values_of(of.query, query), k = values_of(of.key, key),
                             v = values_of(of.value, value);
    std::vector<float> context(q.size());
    attention({.query = {q.data(), of.query.stride},
               .key = {k.data(), of.key.stride},
               .value = {v.data(), of.value.stride},
               .heads = heads,
               .key_heads = key_heads,
               .head_size = head_size,
               .factor = of.factor,
               .slopes = of.slopes,
               .causal = causal,
               .scores = scores,
               .probs = MatrixGrid{probs.scale, probs.zero_point, {0, probs.most}}},
              sequences, context.data());
    return context;
  }
};

// Numbers of queries and keys around those of tiles and panels.
void add_sequences(Problem& of) {
  for (const int64_t size : {1, 2, 5, 12, 13, 16, 17, 31, 40}) of.add(size, size, size);
  of.add(3, 50, 50);
  of.add(7, 20, 11);
}

void check(const Problem& of, ParallelFor parallel_for = serial_for) {
  const std::vector<float> expected = of.in_float();
  std::vector<float> y(expected.size(), -5), values(y.size()), rounded(y.size());
  ASSERT_TRUE(integer_attention(of.operands(), of.sequences, {.y = y.data()}, parallel_for));
  ASSERT_EQ(first_difference(y, expected), -1);

  const OutputGrid grid{0.021f, 100, 255};
  std::vector<uint8_t> codes(y.size()), alone(y.size()), expected_codes(y.size());
  quantize_codes_tensor(expected.data(), {expected_codes.data(), CodeType::kUint8},
                        static_cast<int64_t>(y.size()), grid.scale, grid.zero_point, {0, grid.most},
                        rounded.data());
  ASSERT_TRUE(integer_attention(of.operands(), of.sequences,
                                {.y = values.data(), .codes = codes.data(), .grid = grid},
                                parallel_for));
  EXPECT_EQ(codes, expected_codes);
  EXPECT_EQ(first_difference(values, rounded), -1);
  ASSERT_TRUE(integer_attention(of.operands(), of.sequences, {.codes = alone.data(), .grid = grid},
                                parallel_for));
  EXPECT_EQ(alone, expected_codes);
}

TEST(IntegerAttention, IsFloatAttentionWhereThatIsExact) {
  on_every_instruction_set([] {
    for (const int64_t head_size : {1, 6, 16, 32, 33, 64}) {
      Problem of{.head_size = head_size};
      add_sequences(of);
      check(of);
    }
  });
}

TEST(IntegerAttention, MasksAndSlopesAndSharedKeysAreThoseOfFloatAttention) {
  on_every_instruction_set([] {
    Problem causal{.head_size = 8, .causal = true};
    for (const int64_t size : {1, 2, 13, 33}) causal.add(size, size, size);
    causal.add(2, 30, 30);  // with keys that are known already
    check(causal);
    Problem shared{.heads = 6, .key_heads = 2, .head_size = 20};
    shared.slopes = {1, 0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f};
    add_sequences(shared);
    check(shared);
  });
}

TEST(IntegerAttention, ScoresAreRoundedInFrontOfTheSoftmax) {
  on_every_instruction_set([] {
    Problem of;
    of.scores = MatrixGrid{0.3f, 9, {0, 63}};
    add_sequences(of);
    check(of);
  });
}

// Quotients next to the middle between two codes, grids of few and of many steps.
TEST(IntegerAttention, ProbabilitiesAreRoundedAsTheyAreDivided) {
  on_every_instruction_set([] {
    for (const OutputGrid probs : {OutputGrid{1.0f / 255, 0, 255}, OutputGrid{1.0f / 15, 2, 15},
                                   OutputGrid{0x1p-7f, 0, 255}, OutputGrid{3e-5f, 0, 255}}) {
      Problem of{.probs = probs};
      // Equal scores: 1 / keys, which lies in the middle between codes for some.
      for (const int64_t keys : {2, 3, 6, 17, 34, 85, 128}) of.add(2, keys, keys);
      std::fill(of.key.begin(), of.key.end(), 140);
      add_sequences(of);
      std::vector<float> y(of.query.size());
      const std::vector<float> expected = of.in_float();
      ASSERT_TRUE(integer_attention(of.operands(), of.sequences, {.y = y.data()}));
      for (size_t i = 0; i < y.size(); ++i) {
        // Float sums of such scales round.
        ASSERT_NEAR(y[i], expected[i], 1e-5 * (1 + std::abs(expected[i])));
      }
    }
  });
}

// Where all scores are equal, so are the probabilities' codes, and the context is a sum of codes.
TEST(IntegerAttention, SumsOverManyKeysAreExact) {
  on_every_instruction_set([] {
    constexpr int64_t kKeys = 3000, kSize = 3;
    for (const uint8_t extreme : {0, 255}) {
      Problem of{.heads = 1, .key_heads = 1, .head_size = kSize};
      of.probs = {1.0f / (200 * kKeys), 0, 255};
      of.add(2, kKeys, kKeys);
      std::fill(of.key.begin(), of.key.end(), 140);
      std::fill(of.value.begin(), of.value.begin() + kKeys, extreme);
      std::vector<float> y(of.query.size());
      ASSERT_TRUE(integer_attention(of.operands(), of.sequences, {.y = y.data()}));
      const IntegerAttentionOperands operands = of.operands();
      const float scale = operands.probs.scale * operands.value.scale;
      for (int64_t d = 0; d < kSize; ++d) {
        int64_t sum = 0;
        for (int64_t j = 0; j < kKeys; ++j) {
          sum += 200 * (static_cast<int64_t>(of.value[j * kSize + d]) - 97);
        }
        EXPECT_EQ(y[d], static_cast<float>(sum) * scale);
      }
    }
  });
}

TEST(IntegerAttention, ThreadsDoNotChangeABit) {
  Problem of{.head_size = 32};
  for (int i = 0; i < 30; ++i) of.add(40, 40, 40);
  check(of, two_threads);
}

TEST(IntegerAttention, SaysWhereAProbabilityHasNoCode) {
  on_every_instruction_set([] {
    Problem of;
    of.add(3, 3, 3);
    of.add(3, 3, 0);  // sees nothing
    std::vector<float> y(of.query.size());
    EXPECT_FALSE(integer_attention(of.operands(), of.sequences, {.y = y.data()}));
    EXPECT_TRUE(
        integer_attention(of.operands(), std::span(of.sequences).first(1), {.y = y.data()}));
  });
}

}  // namespace
}  // namespace quell::kernels

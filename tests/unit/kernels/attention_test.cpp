// Attention against its formula in double precision, and its independence of company.
#include "framework/kernels/attention.h"

#include <algorithm>
#include <limits>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

struct Problem {
  int64_t heads = 4, key_heads = 4, head_size = 16;
  float factor = 0.25f;
  bool causal = false;
  std::vector<float> slopes = {};
  std::vector<AttentionSequence> sequences = {};
  std::vector<float> query = {}, key = {}, value = {};

  // A sequence of so many queries and keys behind the others.
  void add(int64_t queries, int64_t keys, int64_t valid_keys) {
    int64_t first_query = 0, first_key = 0;
    if (!sequences.empty()) {
      const AttentionSequence& last = sequences.back();
      first_query = last.first_query + last.queries;
      first_key = last.first_key + last.keys;
    }
    sequences.push_back({first_query, queries, first_key, keys, valid_keys});
    std::mt19937 random(static_cast<uint32_t>(sequences.size() * 7 + query.size()));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < queries * heads * head_size; ++i) query.push_back(2 * normal(random));
    for (int64_t i = 0; i < keys * key_heads * head_size; ++i) {
      key.push_back(2 * normal(random));
      value.push_back(normal(random));
    }
  }

  AttentionOperands operands() const {
    return {.query = {query.data(), heads * head_size},
            .key = {key.data(), key_heads * head_size},
            .value = {value.data(), key_heads * head_size},
            .heads = heads,
            .key_heads = key_heads,
            .head_size = head_size,
            .factor = factor,
            .slopes = slopes.empty() ? nullptr : slopes.data(),
            .causal = causal};
  }

  // -5 where nothing was written.
  std::vector<float> context(ParallelFor parallel_for = serial_for) const {
    std::vector<float> context(query.size(), -5);
    attention(operands(), sequences, context.data(), parallel_for);
    return context;
  }
};

struct Expected {
  double value, error;  // how far a context may be from it
};

// By the formula. A score's error is at most (head size + 3) roundings of the sum of its terms'
// sizes, and it makes a probability that much larger or smaller; the sums over keys add theirs.
Expected expected(const Problem& of, const AttentionSequence& sequence, int64_t query, int64_t head,
                  int64_t feature) {
  constexpr double kUnit = 0x1p-24;
  const int64_t key_head = head / (of.heads / of.key_heads);
  const int64_t later = of.causal ? sequence.queries - 1 - query : 0;
  const int64_t seen = std::min(sequence.valid_keys, sequence.keys - later);
  const float* q = &of.query[((sequence.first_query + query) * of.heads + head) * of.head_size];
  std::vector<double> scores;
  double error = 0;
  for (int64_t j = 0; j < seen; ++j) {
    const float* k = &of.key[((sequence.first_key + j) * of.key_heads + key_head) * of.head_size];
    double score = 0, size = 0;
    for (int64_t d = 0; d < of.head_size; ++d) {
      score += static_cast<double>(q[d]) * static_cast<double>(k[d]);
      size += std::abs(static_cast<double>(q[d]) * static_cast<double>(k[d]));
    }
    score *= of.factor;
    size *= of.factor;
    if (!of.slopes.empty()) {
      score += of.slopes[head] * static_cast<double>(j);
      size += std::abs(of.slopes[head] * static_cast<double>(j));
    }
    scores.push_back(score);
    error = std::max(error, static_cast<double>(2 * of.head_size + 3) * kUnit * size);
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0, value = 0, size = 0;
  for (int64_t j = 0; j < seen; ++j) {
    const double share = std::exp(scores[j] - largest);
    const double v =
        of.value[((sequence.first_key + j) * of.key_heads + key_head) * of.head_size + feature];
    sum += share;
    value += share * v;
    size += share * std::abs(v);
  }
  // Either side of a difference of scores is off, for the context and for the sum; -87 and less are
  // taken for nothing; the exponential's own error is 2 roundings more.
  const double relative = 4 * error + static_cast<double>(3 * seen + 10) * kUnit;
  return {value / sum, relative * size / sum + 1e-30};
}

void check(const Problem& of) {
  const std::vector<float> context = of.context();
  for (const AttentionSequence& sequence : of.sequences) {
    for (int64_t query = 0; query < sequence.queries; ++query) {
      for (int64_t head = 0; head < of.heads; ++head) {
        for (int64_t feature = 0; feature < of.head_size; ++feature) {
          const Expected value = expected(of, sequence, query, head, feature);
          const int64_t row = sequence.first_query + query;
          ASSERT_NEAR(context[(row * of.heads + head) * of.head_size + feature], value.value,
                      value.error)
              << "query " << query << " of " << sequence.queries << ", keys " << sequence.valid_keys
              << ", head " << head << ", feature " << feature;
        }
      }
    }
  }
}

// Numbers of queries and keys around those of tiles and panels.
void add_sequences(Problem& of) {
  for (const int64_t size : {1, 2, 5, 12, 13, 16, 17, 31, 40}) of.add(size, size, size);
  of.add(3, 50, 50);
  of.add(7, 20, 11);
}

TEST(Attention, IsCloseToItsFormulaInDoublePrecision) {
  on_every_instruction_set([] {
    for (const int64_t head_size : {1, 6, 16, 32, 33, 64}) {
      Problem of{.head_size = head_size};
      add_sequences(of);
      check(of);
    }
  });
}

TEST(Attention, CausalQueriesSeeNoLaterKeys) {
  on_every_instruction_set([] {
    Problem of{.head_size = 8, .causal = true};
    for (const int64_t size : {1, 2, 13, 33}) of.add(size, size, size);
    of.add(2, 30, 30);  // with keys that are known already
    check(of);
  });
}

TEST(Attention, HeadsShareKeysAndAddSlopes) {
  on_every_instruction_set([] {
    Problem shared{.heads = 6, .key_heads = 2, .head_size = 20};
    add_sequences(shared);
    check(shared);
    Problem sloped{.causal = true, .slopes = {0.5f, 0.25f, 0.125f, 0.0625f}};
    for (const int64_t size : {1, 4, 29}) sloped.add(size, size, size);
    check(sloped);
  });
}

// Scores far apart: the largest alone counts, and nothing overflows.
TEST(Attention, LargeScoresDoNotOverflow) {
  on_every_instruction_set([] {
    Problem of{.factor = 100};
    add_sequences(of);
    for (const float value : of.context()) ASSERT_TRUE(std::isfinite(value));
  });
}

// The bits of a sequence do not depend on what else is computed, nor those of a query on its
// neighbours, nor any on threads.
TEST(Attention, CompanyAndThreadsDoNotChangeABit) {
  on_every_instruction_set([] {
    Problem all{.head_size = 32};
    add_sequences(all);
    const std::vector<float> context = all.context();
    EXPECT_EQ(first_difference(all.context(&two_threads), context), -1);
    const int64_t width = all.heads * all.head_size;
    for (const AttentionSequence& sequence : all.sequences) {
      for (int64_t query = 0; query < sequence.queries; ++query) {
        Problem alone = all;
        const int64_t row = sequence.first_query + query;
        alone.query = {all.query.begin() + row * width, all.query.begin() + (row + 1) * width};
        alone.sequences = {{0, 1, sequence.first_key, sequence.keys, sequence.valid_keys}};
        ASSERT_EQ(first_difference(alone.context(), {context.begin() + row * width,
                                                     context.begin() + (row + 1) * width}),
                  -1);
      }
    }
  });
}

TEST(Attention, InstructionSetsWithFusedMultiplyAddAgree) {
  Problem of{.head_size = 40};
  add_sequences(of);
  std::vector<float> first;
  on_every_instruction_set([&] {
    if (!fused()) return;
    const std::vector<float> context = of.context();
    if (first.empty()) first = context;
    EXPECT_EQ(first_difference(context, first), -1);
  });
}

// A strange query spoils its own head and row, a strange key or value all queries of its sequence.
TEST(Attention, NanAndInfinityReachWhatDependsOnThem) {
  on_every_instruction_set([] {
    for (const float strange :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Problem of;
      for (const int64_t size : {5, 18, 9}) of.add(size, size, size);
      const int64_t width = of.heads * of.head_size;
      const auto finite_in = [&](const std::vector<float>& context, int64_t row, int64_t head) {
        const auto at = context.begin() + row * width + head * of.head_size;
        return std::all_of(at, at + of.head_size, [](float value) { return std::isfinite(value); });
      };
      Problem query = of, key = of, value = of;
      query.query[7 * width + of.head_size + 3] = strange;
      key.key[7 * width + of.head_size + 3] = strange;
      value.value[7 * width + of.head_size + 3] = strange;
      const std::vector<float> by_query = query.context(), by_key = key.context(),
                               by_value = value.context();
      for (int64_t row = 0; row < 32; ++row) {
        const bool same_sequence = row >= 5 && row < 23;
        for (int64_t head = 0; head < of.heads; ++head) {
          EXPECT_EQ(finite_in(by_query, row, head), !(row == 7 && head == 1));
          EXPECT_EQ(finite_in(by_value, row, head), !(same_sequence && head == 1));
          // An infinite score may be one that nothing else comes up to, or one that counts for 0.
          if (same_sequence && head == 1 && !std::isnan(strange)) continue;
          EXPECT_EQ(finite_in(by_key, row, head), !same_sequence || head != 1);
        }
      }
    }
  });
}

TEST(Attention, WithoutKeysThereIsNoNumber) {
  Problem of;
  of.add(3, 4, 0);
  for (const float value : of.context()) EXPECT_TRUE(std::isnan(value));
  attention(of.operands(), {}, nullptr);
}

}  // namespace
}  // namespace quell::kernels

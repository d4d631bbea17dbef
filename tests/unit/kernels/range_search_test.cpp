// The searches against trying every candidate in the published order, value by value.
#include "framework/kernels/range_search.h"

#include <random>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

std::vector<float> values_on(Side side, size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(count);
  for (float& value : x) {
    value = normal(random);
    if (side == Side::kPositive) value = std::abs(value);
    if (side == Side::kNegative) value = -std::abs(value);
  }
  x[0] *= 9;
  return x;
}

double brute_force(const std::vector<float>& x, const AffineRule& rule, MinMax range) {
  return brute_force(x, scale_zero_point(rule, range.min, range.max), rule.levels);
}

MinMax range_of(const std::vector<float>& x) {
  return min_max_tensor(x.data(), static_cast<int64_t>(x.size()));
}

// Widths in increasing order, zero points from the lowest; a later candidate has to be better.
MinMax published_order(const std::vector<float>& x, const AffineRule& rule, Side side) {
  const MinMax extremes = range_of(x);
  MinMax best = extremes;
  double least = INFINITY;
  const auto consider = [&](MinMax candidate) {
    const double error = brute_force(x, rule, candidate);
    if (error >= least) return;
    least = error;
    best = candidate;
  };
  if (rule.symmetric || side != Side::kBoth) {
    const float reach = std::max(std::abs(extremes.min), extremes.max);
    for (int i = 1; i <= 100; ++i) {
      const float bound = reach / 100.0f * static_cast<float>(i);
      consider({side == Side::kPositive ? 0.0f : -bound, side == Side::kNegative ? 0.0f : bound});
    }
    return best;
  }
  const float low = std::min(extremes.min, 0.0f), high = std::max(extremes.max, 0.0f);
  for (int i = 1; i <= 100; ++i) {
    const float width = (high - low) / 100.0f * static_cast<float>(i);
    const float step = width / rule.levels.high;
    for (float zero_point = 0; zero_point <= rule.levels.high; ++zero_point) {
      const float shift = zero_point * step;
      consider({std::max(0.0f - shift, low), std::min(width - shift, high)});
    }
  }
  return best;
}

TEST(RangeSearch, GridFindsTheBestCandidate) {
  for (const Side side : {Side::kBoth, Side::kPositive, Side::kNegative}) {
    for (const bool symmetric : {false, true}) {
      for (const int bits : {2, 3, 4, 6}) {
        const AffineRule rule = affine_rule(Grid::kOs, bits, symmetric);
        const std::vector<float> x = values_on(side, 200, static_cast<unsigned>(bits));
        const MinMax found = search_grid(x, rule, side, 100);
        const MinMax expected = published_order(x, rule, side);
        // Candidates of mathematically equal error may differ in the order of its summation.
        EXPECT_LE(brute_force(x, rule, found), brute_force(x, rule, expected) * (1 + 1e-12));
        EXPECT_EQ(found.min, expected.min);
        EXPECT_EQ(found.max, expected.max);
      }
    }
  }
}

// Many values are not sorted at first; few of them, each repeated, are, and have the same errors.
TEST(RangeSearch, ManyValuesAreSearchedAsFew) {
  for (const Side side : {Side::kBoth, Side::kPositive, Side::kNegative}) {
    for (const bool symmetric : {false, true}) {
      for (const int bits : {3, 6, 8, 12}) {
        const AffineRule rule = affine_rule(Grid::kOs, bits, symmetric);
        const std::vector<float> few = values_on(side, 3001, static_cast<unsigned>(bits));
        std::vector<float> many;
        for (int i = 0; i < 40; ++i) many.insert(many.end(), few.begin(), few.end());
        const MinMax found = search_grid(many, rule, side, 100);
        const MinMax expected = search_grid(few, rule, side, 100);
        EXPECT_EQ(found.min, expected.min) << bits;
        EXPECT_EQ(found.max, expected.max) << bits;
      }
    }
  }
}

TEST(RangeSearch, TheFirstOfEqualCandidatesWins) {
  // At any width, the zero is exact: all candidates are equally good.
  const AffineRule rule = affine_rule(Grid::kOs, 4, /*symmetric=*/true);
  const MinMax found = search_grid({0.0f, 0.0f}, rule, Side::kPositive, 100);
  EXPECT_EQ(found.max, 0.0f);
}

TEST(RangeSearch, BrentImprovesOnTheFullRange) {
  for (const Side side : {Side::kBoth, Side::kPositive, Side::kNegative}) {
    for (const bool symmetric : {false, true}) {
      const AffineRule rule = affine_rule(Grid::kOs, 4, symmetric);
      const std::vector<float> x = values_on(side, 3000, 5);
      const MinMax found = search_brent(x, rule, side);
      EXPECT_LT(brute_force(x, rule, found), 0.9 * brute_force(x, rule, range_of(x)));
      EXPECT_GE(found.min, side == Side::kPositive ? 0.0f : -40.0f);
      EXPECT_LE(found.max, side == Side::kNegative ? 0.0f : 40.0f);
    }
  }
}

TEST(RangeSearch, Sides) {
  EXPECT_EQ(side_of({0, 0}), Side::kPositive);
  EXPECT_EQ(side_of({0, 1}), Side::kPositive);
  EXPECT_EQ(side_of({-1, 0}), Side::kNegative);
  EXPECT_EQ(side_of({-1, 1}), Side::kBoth);
}

}  // namespace
}  // namespace quell::kernels

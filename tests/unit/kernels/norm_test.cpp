// LayerNorm against its formula in double precision.
#include "framework/kernels/norm.h"

#include <limits>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

struct Problem {
  int64_t rows, features;
  std::vector<float> x, added, gamma, beta;

  Problem(int64_t row_count, int64_t feature_count, float centre)
      : rows(row_count),
        features(feature_count),
        x(normal_values(static_cast<size_t>(rows * features), 20, 37, centre)),
        added(normal_values(static_cast<size_t>(rows * features), 1, 1, 1)),
        gamma(normal_values(static_cast<size_t>(features), 1, 1, 1)),
        beta(normal_values(static_cast<size_t>(features), 3, 5)) {}

  std::vector<float> norm(bool adds = true, bool has_beta = true,
                          ParallelFor parallel_for = serial_for) const {
    std::vector<float> y(x.size() + 1, -5);
    layer_norm({gamma.data(), has_beta ? beta.data() : nullptr, 1e-5f}, x.data(),
               adds ? added.data() : nullptr, rows, features, y.data(), parallel_for);
    EXPECT_EQ(y.back(), -5);
    y.pop_back();
    return y;
  }
};

TEST(LayerNorm, IsCloseToItsFormulaInDoublePrecision) {
  constexpr double kUnit = 0x1p-24;
  on_every_instruction_set([] {
    for (const int64_t features : {1, 3, 8, 16, 31, 384, 1025}) {
      const Problem of(3, features, 0.5f);
      const std::vector<float> y = of.norm();
      for (int64_t row = 0; row < of.rows; ++row) {
        std::vector<double> x;
        double mean = 0, variance = 0, size = 0;
        for (int64_t i = row * features; i < (row + 1) * features; ++i) {
          x.push_back(of.x[i] + of.added[i]);  // rounded, as the sum that is normalized
          mean += x.back() / static_cast<double>(features);
          size = std::max(size, std::abs(x.back()));
        }
        for (const double value : x) {
          variance += (value - mean) * (value - mean) / static_cast<double>(features);
        }
        const double factor = 1 / std::sqrt(variance + static_cast<double>(1e-5f));
        // The mean has at most features / 16 + 6 roundings, of numbers no larger than `size`; the
        // variance twice as many, and those of its mean.
        const double roundings = static_cast<double>(features) / 16 + 8;
        for (int64_t i = 0; i < features; ++i) {
          const double expected = (x[i] - mean) * factor * of.gamma[i] + of.beta[i];
          const double slope = factor * std::abs(of.gamma[i]);
          const double error =
              roundings * kUnit * (2 * size * slope + 2 * std::abs(x[i] - mean) * slope) +
              2 * kUnit * std::abs(expected) + kUnit * std::abs(of.beta[i]);
          ASSERT_NEAR(y[row * features + i], expected, error) << features << " features, " << i;
        }
      }
    }
  });
}

TEST(LayerNorm, WithoutBetaOrSum) {
  const Problem of(5, 50, 0);
  Problem zeros = of;
  zeros.beta.assign(zeros.beta.size(), 0);
  zeros.added.assign(zeros.added.size(), 0);
  on_every_instruction_set(
      [&] { EXPECT_EQ(first_difference(of.norm(false, false), zeros.norm()), -1); });
}

TEST(LayerNorm, RowsThreadsAndInstructionSetsDoNotChangeABit) {
  const Problem of(70, 393, 0);
  std::vector<float> first;
  on_every_instruction_set([&] {
    const std::vector<float> y = of.norm();
    EXPECT_EQ(first_difference(of.norm(true, true, &two_threads), y), -1);
    for (const int64_t rows : {1, 2, 17}) {
      Problem some = of;
      some.rows = rows;
      some.x.resize(static_cast<size_t>(rows * of.features));
      EXPECT_EQ(first_difference(some.norm(), {y.begin(), y.begin() + rows * of.features}), -1);
    }
    if (!fused()) return;
    if (first.empty()) first = y;
    EXPECT_EQ(first_difference(y, first), -1);
  });
}

TEST(LayerNorm, MayOverwriteItsOperands) {
  const Problem of(4, 100, 0);
  const std::vector<float> expected = of.norm();
  const LayerNorm norm{of.gamma.data(), of.beta.data(), 1e-5f};
  std::vector<float> x = of.x, added = of.added;
  layer_norm(norm, x.data(), of.added.data(), of.rows, of.features, x.data());
  layer_norm(norm, of.x.data(), added.data(), of.rows, of.features, added.data());
  EXPECT_EQ(first_difference(x, expected), -1);
  EXPECT_EQ(first_difference(added, expected), -1);
}

TEST(LayerNorm, NanAndInfinityStayInTheirRow) {
  on_every_instruction_set([] {
    for (const float strange :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Problem of(3, 40, 0);
      of.x[40 + 39] = strange;
      const std::vector<float> y = of.norm();
      for (int64_t i = 0; i < 120; ++i) {
        ASSERT_EQ(std::isnan(y[i]), i / 40 == 1) << "value " << i;
      }
    }
  });
}

}  // namespace
}  // namespace quell::kernels

// Products against sums in double precision, and bit for bit against their definition.
#include "framework/kernels/packed_product.h"

#include <algorithm>
#include <limits>
#include <numbers>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

constexpr double kUnit = 0x1p-24;  // half a unit in the last place of 1

struct Problem {
  int64_t rows, outputs, inputs;
  std::vector<float> x, weight, bias, shortcut;

  Problem(int64_t row_count, int64_t output_count, int64_t input_count)
      : rows(row_count), outputs(output_count), inputs(input_count) {
    std::mt19937 random(static_cast<uint32_t>(rows * 31 + outputs * 7 + inputs));
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& values, int64_t size) {
      values.resize(static_cast<size_t>(size));
      for (float& value : values) value = normal(random);
    };
    fill(x, rows * inputs);
    fill(weight, outputs * inputs);
    fill(bias, outputs);
    fill(shortcut, rows * outputs);
  }

  // NaN where nothing was written, and behind the end.
  std::vector<float> product(Activation activation = Activation::kNone, bool with_bias = true,
                             bool with_shortcut = true,
                             ParallelFor parallel_for = serial_for) const {
    const PackedWeight packed(weight.data(), outputs, inputs);
    std::vector<float> y(static_cast<size_t>(rows * outputs + 1), NAN);
    packed_product(
        x.data(), rows, packed,
        {with_bias ? bias.data() : nullptr, activation, with_shortcut ? shortcut.data() : nullptr},
        y.data(), parallel_for);
    EXPECT_TRUE(std::isnan(y.back()));
    y.pop_back();
    return y;
  }
};

// The definition in packed_product.h.
float defined_sum(const Problem& of, int64_t row, int64_t output, int64_t depth, bool fused_sums) {
  float sum = 0;
  for (int64_t first = 0; first < of.inputs; first += depth) {
    float block = 0;
    for (int64_t k = first; k < std::min(of.inputs, first + depth); ++k) {
      const float x = of.x[row * of.inputs + k], w = of.weight[output * of.inputs + k];
      block = fused_sums ? std::fma(x, w, block) : x * w + block;
    }
    sum = first == 0 ? block : sum + block;
  }
  return sum;
}

TEST(PackedProduct, IsCloseToSumsInDoublePrecision) {
  on_every_instruction_set([] {
    for (const auto& [outputs, inputs] : {std::pair<int64_t, int64_t>{1, 1},
                                          {2, 384},
                                          {17, 5},
                                          {33, 257},
                                          {130, 300},
                                          {384, 1536}}) {
      for (const int64_t rows : {1, 7, 100}) {
        if (rows * outputs * inputs > 5000000) continue;
        const Problem of(rows, outputs, inputs);
        const int64_t depth = PackedWeight(of.weight.data(), outputs, inputs).block_depth();
        const double roundings = static_cast<double>(2 * depth + inputs / depth + 3);
        const std::vector<float> y = of.product();
        for (int64_t i = 0; i < rows * outputs; ++i) {
          const int64_t row = i / outputs, output = i % outputs;
          double sum = 0, size = 0;
          for (int64_t k = 0; k < inputs; ++k) {
            const double term = static_cast<double>(of.x[row * inputs + k]) *
                                static_cast<double>(of.weight[output * inputs + k]);
            sum += term;
            size += std::abs(term);
          }
          sum += static_cast<double>(of.bias[output]) + of.shortcut[i];
          size += std::abs(of.bias[output]) + std::abs(of.shortcut[i]);
          ASSERT_LE(std::abs(y[i] - sum), roundings * kUnit * size)
              << rows << " x " << outputs << " x " << inputs << ", value " << i;
        }
      }
    }
  });
}

// For any number of rows and outputs, so for every tile and remainder of each instruction set.
TEST(PackedProduct, EveryBitIsThatOfTheDefinition) {
  on_every_instruction_set([] {
    for (int64_t rows = 1; rows <= 40; ++rows) {
      for (const int64_t outputs : {1, 16, 100, 145}) {
        const Problem of(rows, outputs, outputs == 100 ? 515 : 19);
        const int64_t depth = PackedWeight(of.weight.data(), outputs, of.inputs).block_depth();
        const std::vector<float> y = of.product();
        for (int64_t i = 0; i < rows * outputs; ++i) {
          const float sum = defined_sum(of, i / outputs, i % outputs, depth, fused());
          const float expected = (sum + of.bias[i % outputs]) + of.shortcut[i];
          ASSERT_TRUE(same_bits(y[i], expected))
              << rows << " x " << outputs << " x " << of.inputs << ", value " << i << ": " << y[i]
              << ", not " << expected;
        }
      }
    }
  });
}

TEST(PackedProduct, RowsAndThreadsDoNotChangeABit) {
  on_every_instruction_set([] {
    for (const auto& [outputs, inputs] : {std::pair<int64_t, int64_t>{147, 600}, {384, 96}}) {
      const Problem all(203, outputs, inputs);
      for (const Activation activation :
           {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh}) {
        const std::vector<float> y = all.product(activation);
        EXPECT_EQ(first_difference(all.product(activation, true, true, &two_threads), y), -1);
        for (const int64_t rows : {1, 2, 3, 4, 5, 7, 13, 97}) {
          Problem some = all;
          some.rows = rows;
          EXPECT_EQ(
              first_difference(some.product(activation), {y.begin(), y.begin() + rows * outputs}),
              -1);
        }
      }
    }
  });
}

TEST(PackedProduct, BlocksShareTheInputsEvenly) {
  const std::vector<float> weight(1600);
  for (const auto& [inputs, depth] : {std::pair<int64_t, int64_t>{1, 1},
                                      {256, 256},
                                      {257, 129},
                                      {384, 192},
                                      {768, 256},
                                      {1536, 256}}) {
    EXPECT_EQ(PackedWeight(weight.data(), 1, inputs).block_depth(), depth);
  }
}

// x [size, 1] times 1: the activation alone.
std::vector<float> activated(const std::vector<float>& x, Activation activation) {
  const float one = 1;
  std::vector<float> y(x.size());
  packed_product(x.data(), static_cast<int64_t>(x.size()), PackedWeight(&one, 1, 1),
                 {nullptr, activation, nullptr}, y.data());
  return y;
}

// From the smallest normal numbers to 20, both signs, all exponents.
std::vector<float> all_sizes() {
  std::vector<float> x;
  for (float size = 1.2e-38f; size < 20; size *= 1.0007f) {
    x.push_back(size);
    x.push_back(-size);
  }
  for (float size = 0; size < 15; size += 1.0f / 4096) {
    x.push_back(size);
    x.push_back(-size);
  }
  return x;
}

double gelu(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }

// The two roundings of t in activation-inl.h count up to 3.2 times, others twice at most: 8 in all.
TEST(PackedProduct, GeluIsWithinEightUnitsInTheLastPlace) {
  on_every_instruction_set([] {
    const std::vector<float> x = all_sizes();
    const std::vector<float> y = activated(x, Activation::kGelu);
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = gelu(x[i]), error = std::abs(y[i] - expected);
      const double ulp = std::abs(std::nextafter(static_cast<float>(expected), INFINITY) -
                                  static_cast<float>(expected));
      if (fused()) {
        ASSERT_LE(error, std::max(8 * ulp, 1e-37)) << "at " << x[i];
      } else {  // a^2 is rounded: exp(-a^2 / 2) is off by a^2 / 2 roundings
        ASSERT_LE(error, std::max((8 + x[i] * x[i]) * ulp, 1e-37)) << "at " << x[i];
      }
    }
  });
}

TEST(PackedProduct, GeluByTanhIsCloseToItsFormula) {
  on_every_instruction_set([] {
    const std::vector<float> x = all_sizes();
    const std::vector<float> y = activated(x, Activation::kGeluTanh);
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i];
      const double u = std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v);
      // The exponent has 4 roundings, which count at most 0.28 each; the rest has 3.
      ASSERT_LE(std::abs(y[i] - v / (1 + std::exp(-2 * u))), 5 * kUnit * std::abs(v) + 1e-44)
          << "at " << x[i];
    }
  });
}

TEST(PackedProduct, ReluKeepsWhatIsPositive) {
  on_every_instruction_set([] {
    const std::vector<float> x = all_sizes();
    const std::vector<float> y = activated(x, Activation::kRelu);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], std::max(x[i], 0.0f));
  });
}

// A NaN or infinity shows in all values of its row or output, and in no other.
TEST(PackedProduct, NanAndInfinityReachWhatDependsOnThem) {
  on_every_instruction_set([] {
    for (const Activation activation :
         {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh}) {
      for (const float strange :
           {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        Problem of(9, 37, 21);
        for (float& value : of.weight) value = std::abs(value);
        of.x[3 * of.inputs + 20] = strange;
        of.weight[36 * of.inputs] = strange;
        for (int64_t row = 0; row < of.rows; ++row) of.x[row * of.inputs] = 0.5f;
        const std::vector<float> y = of.product(activation);
        for (int64_t i = 0; i < of.rows * of.outputs; ++i) {
          const bool reached = i / of.outputs == 3 || i % of.outputs == 36;
          ASSERT_EQ(std::isfinite(y[i]), !reached) << "value " << i;
          if (!reached) continue;
          ASSERT_EQ(std::isnan(y[i]), std::isnan(strange)) << "value " << i;
        }
      }
    }
  });
}

TEST(PackedProduct, NoRowsAreNothing) {
  const float weight = 2;
  packed_product(nullptr, 0, PackedWeight(&weight, 1, 1), {}, nullptr);
}

}  // namespace
}  // namespace quell::kernels

// Errors of outputs behind activations, and the gradient of their squares, against double
// precision.
#include "framework/kernels/soft_rounding.h"

#include <limits>
#include <numbers>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

constexpr Activation kAll[] = {Activation::kNone, Activation::kRelu, Activation::kGelu,
                               Activation::kGeluTanh};

double exact(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kGelu:
      return x * std::erfc(-x / std::numbers::sqrt2) / 2;
    case Activation::kGeluTanh:
      return x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))) / 2;
  }
  return 0;
}

struct Problem {
  int64_t rows, columns, stride;
  std::vector<float> y, shift, targets;

  Problem(int64_t row_count, int64_t column_count)
      : rows(row_count),
        columns(column_count),
        stride(columns + 3),
        y(normal_values(static_cast<size_t>(rows * columns), 5, 3)),
        shift(normal_values(static_cast<size_t>(columns), 2, 4)),
        targets(normal_values(static_cast<size_t>(rows * stride), 3, 7, 0.5f)) {}

  struct Found {
    double squares;
    std::vector<float> gradient;
  };
  Found errors(Activation activation) const {
    Found found{0, y};
    found.gradient.push_back(-5);  // must stay
    found.squares = take_output_errors(found.gradient.data(), rows, columns,
                                       {shift.data(), activation, targets.data(), stride});
    EXPECT_EQ(found.gradient.back(), -5);
    found.gradient.pop_back();
    return found;
  }
};

TEST(OutputErrors, AreThoseOfDoublePrecision) {
  on_every_instruction_set([] {
    for (const Activation activation : kAll) {
      for (const auto& [rows, columns] :
           {std::pair<int64_t, int64_t>{1, 1}, {3, 7}, {2, 16}, {70, 31}, {5, 393}}) {
        const Problem of(rows, columns);
        const auto [squares, gradient] = of.errors(activation);
        double expected_squares = 0;
        for (int64_t i = 0; i < rows * columns; ++i) {
          const int64_t row = i / columns, column = i % columns;
          const double x = of.y[static_cast<size_t>(i)] + of.shift[static_cast<size_t>(column)];
          const double output = exact(activation, x);
          const double error = output - of.targets[static_cast<size_t>(row * of.stride + column)];
          // Central differences are wrong by h^2 / 6 of the third derivative, which is below 3.
          constexpr double kStep = 1e-5;
          const double slope =
              activation == Activation::kRelu
                  ? (x > 0 ? 1.0 : 0.0)
                  : (exact(activation, x + kStep) - exact(activation, x - kStep)) / (2 * kStep);
          // A few roundings of the output and of the difference; of the derivative, whose parts are
          // up to 1.2 large and whose exponents, up to 30, have some of their own.
          const double error_bound = 5e-7 * (std::abs(output) + std::abs(error));
          ASSERT_NEAR(gradient[static_cast<size_t>(i)], error * slope,
                      error_bound * std::abs(slope) + 2e-6 * std::abs(error))
              << static_cast<int>(activation) << ", " << columns << " columns, " << x;
          expected_squares += error * error;
        }
        // Runs of 64 values in each of 16 lanes are summed in float32.
        EXPECT_NEAR(squares, expected_squares, 5e-6 * expected_squares);
      }
    }
  });
}

TEST(OutputErrors, InstructionSetsDoNotChangeABit) {
  for (const Activation activation : kAll) {
    const Problem of(70, 393);
    std::vector<float> first;
    double squares = 0;
    on_every_instruction_set([&] {
      if (!fused()) return;
      const auto found = of.errors(activation);
      if (first.empty()) {
        first = found.gradient;
        squares = found.squares;
      }
      EXPECT_EQ(first_difference(found.gradient, first), -1) << static_cast<int>(activation);
      EXPECT_EQ(found.squares, squares) << static_cast<int>(activation);
    });
  }
}

// Where exponentials end, 1e38 away from 1, derivatives may be as far from 0 as 1e-26.
TEST(OutputErrors, FarOutNothingOverflows) {
  on_every_instruction_set([] {
    for (const Activation activation :
         {Activation::kRelu, Activation::kGelu, Activation::kGeluTanh}) {
      const std::vector<float> target(4, 1.0f);
      std::vector<float> y = {-1e4f, 1e4f, -40.0f, std::numeric_limits<float>::quiet_NaN()};
      take_output_errors(y.data(), 1, 4, {nullptr, activation, target.data(), 4});
      EXPECT_NEAR(y[0], 0, 1e-25) << static_cast<int>(activation);
      EXPECT_EQ(y[1], 1e4f - 1) << static_cast<int>(activation);
      EXPECT_NEAR(y[2], 0, 1e-25) << static_cast<int>(activation);
      EXPECT_TRUE(std::isnan(y[3])) << static_cast<int>(activation);
    }
  });
}

// Weights between their neighbours on a grid from -8 to 7, some of them beyond it.
struct Rounding {
  explicit Rounding(int64_t size, bool one_scale)
      : lower(normal_values(static_cast<size_t>(size), 2, 5)),
        scale(static_cast<size_t>(one_scale ? 1 : size), 0.02f),
        zero_point(scale.size(), 0.0f),
        variable(normal_values(static_cast<size_t>(size), 3, 4)),
        first(normal_values(static_cast<size_t>(size), 1, 1)),
        second(static_cast<size_t>(size), 0.5f),
        soft(static_cast<size_t>(size) + 1, -5.0f),
        gradient(normal_values(static_cast<size_t>(size), 9, 6, 0.1f)) {
    for (float& value : lower) value = std::floor(4 * value);
    for (size_t i = 0; i < scale.size(); ++i) scale[i] += 1e-4f * static_cast<float>(i % 7);
  }
  double step(const RoundingStep& step) {
    const double regularizer = take_rounding_step({std::ssize(gradient),
                                                   lower.data(),
                                                   scale.data(),
                                                   zero_point.data(),
                                                   scale.size() == 1,
                                                   {-8, 7},
                                                   variable.data(),
                                                   first.data(),
                                                   second.data(),
                                                   soft.data()},
                                                  gradient.data(), step);
    EXPECT_EQ(soft.back(), -5);  // is not theirs
    return regularizer;
  }
  std::vector<float> lower, scale, zero_point, variable, first, second, soft, gradient;
};

constexpr RoundingStep kStep{.gradient_factor = 0.5f,
                             .regularizer = 0.01f,
                             .beta = 7.5f,
                             .step_size = 0.02f,
                             .second_correction = 0.8f};

// With the hard sigmoid. Derivatives and Adam as in double precision; 5e-6 are what a few float32
// roundings of numbers of this size, and an exponent of 7.5 log(1e-3), come to.
TEST(RoundingSteps, AreThoseOfDoublePrecision) {
  on_every_instruction_set([] {
    for (const auto& [size, one_scale] :
         {std::pair<int64_t, bool>{1, true}, {15, false}, {513, true}, {1200, false}}) {
      const Rounding before(size, one_scale);
      Rounding after = before;
      const double regularizer = after.step(kStep);
      double expected = 0;
      for (size_t i = 0; i < static_cast<size_t>(size); ++i) {
        const double scale = before.scale[one_scale ? 0 : i], v = before.variable[i];
        const auto share_of = [](double variable) {
          return std::clamp(1.2 / (1 + std::exp(-variable)) - 0.1, 0.0, 1.0);
        };
        const double h = share_of(v), p = 1 / (1 + std::exp(-v));
        const double dh = 1.2 * p - 0.1 >= 0 && 1.2 * p - 0.1 <= 1 ? 1.2 * p * (1 - p) : 0;
        const double distance = std::abs(2 * h - 1), code = before.lower[i] + h;
        const double loss = code >= -8 && code <= 7 ? before.gradient[i] * 0.5 * scale : 0;
        const double pull = std::copysign(2 * 7.5 * std::pow(distance, 6.5), h - 0.5);
        const double g = (loss - static_cast<double>(kStep.regularizer) * pull) * dh;
        expected += 1 - std::pow(distance, 7.5);
        const double first = 0.9 * before.first[i] + 0.1 * g;
        const double second = 0.999 * before.second[i] + 0.001 * g * g;
        const double next = v - kStep.step_size * first / (std::sqrt(second) / 0.8 + 1e-8);
        ASSERT_NEAR(after.first[i], first, 5e-6) << i;
        ASSERT_NEAR(after.second[i], second, 5e-6) << i;
        ASSERT_NEAR(after.variable[i], next, 5e-6) << i;
        const double soft = std::clamp(before.lower[i] + share_of(next), -8.0, 7.0) * scale;
        ASSERT_NEAR(after.soft[i], soft, 5e-6) << i;
      }
      EXPECT_NEAR(regularizer, expected, 5e-6 * static_cast<double>(size));
    }
  });
}

TEST(RoundingSteps, InstructionSetsDoNotChangeABit) {
  for (const Relaxation relaxation :
       {Relaxation::kHardSigmoid, Relaxation::kSigmoid, Relaxation::kTemperatureSigmoid}) {
    RoundingStep step = kStep;
    step.relaxation = relaxation;
    step.next_temperature = 0.7f;
    std::vector<float> variable, soft;
    double regularizer = 0;
    on_every_instruction_set([&] {
      if (!fused()) return;
      Rounding weights(1203, /*one_scale=*/false);
      const double found = weights.step(step);
      if (variable.empty()) {
        variable = weights.variable;
        soft = weights.soft;
        regularizer = found;
      }
      EXPECT_EQ(first_difference(weights.variable, variable), -1);
      EXPECT_EQ(first_difference(weights.soft, soft), -1);
      EXPECT_EQ(found, regularizer);
    });
  }
}

}  // namespace
}  // namespace quell::kernels

#include "framework/kernels/fake_quantize_gradient.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

struct Shape {
  int64_t outer, channels, inner;
  int64_t size() const { return outer * channels * inner; }
};

struct Gradient {
  std::vector<float> dx, dscale, dzero_point;
};

Gradient gradient(const std::vector<float>& x, const std::vector<float>& dy, const Shape& shape,
                  const std::vector<float>& scale, const std::vector<float>& zero_point,
                  Levels codes, ParallelFor parallel_for = serial_for) {
  Gradient result{std::vector<float>(x.size(), -7.0f), scale, scale};
  fake_quantize_gradient(x.data(), dy.data(), result.dx.data(), shape.outer, shape.channels,
                         shape.inner, scale.data(), zero_point.data(), codes, result.dscale.data(),
                         result.dzero_point.data(), parallel_for);
  return result;
}

bool same(const Gradient& a, const Gradient& b) {
  return first_difference(a.dx, b.dx) == -1 && first_difference(a.dscale, b.dscale) == -1 &&
         first_difference(a.dzero_point, b.dzero_point) == -1;
}

// The table of the paper, value by value, sums in double.
struct Reference {
  std::vector<float> dx;
  std::vector<double> dscale, dzero_point;
  std::vector<double> squared_scale, squared_zero_point;  // sums of squared terms
};

Reference reference(const std::vector<float>& x, const std::vector<float>& dy, const Shape& shape,
                    const std::vector<float>& scale, const std::vector<float>& zero_point,
                    Levels codes) {
  const std::vector<double> none(shape.channels, 0.0);
  Reference result{std::vector<float>(x.size()), none, none, none, none};
  for (int64_t i = 0; i < shape.size(); ++i) {
    const int64_t channel = i / shape.inner % shape.channels;
    const float s = scale[channel], z = zero_point[channel], quotient = x[i] / s;
    const float code = std::nearbyint(quotient) + z;
    double slope = static_cast<double>(std::nearbyint(quotient)) - quotient, shift = 0;
    if (code < codes.low || code > codes.high) {
      slope = static_cast<double>(code < codes.low ? codes.low : codes.high) - z;
      shift = -static_cast<double>(s);
    } else {
      result.dx[i] = dy[i];
    }
    result.dscale[channel] += dy[i] * slope;
    result.dzero_point[channel] += dy[i] * shift;
    result.squared_scale[channel] += dy[i] * slope * dy[i] * slope;
    result.squared_zero_point[channel] += dy[i] * shift * dy[i] * shift;
  }
  return result;
}

// The bound of the project: 4 epsilon sqrt(n) times the root mean square of the terms; besides, the
// result is rounded to float32.
void expect_sum(float found, double expected, double squares) {
  EXPECT_NEAR(found, expected, kEpsilon * (4 * std::sqrt(squares) + std::abs(expected)));
}

void expect_gradient(const Gradient& found, const Reference& expected) {
  EXPECT_EQ(first_difference(found.dx, expected.dx), -1);
  for (size_t c = 0; c < expected.dscale.size(); ++c) {
    expect_sum(found.dscale[c], expected.dscale[c], expected.squared_scale[c]);
    expect_sum(found.dzero_point[c], expected.dzero_point[c], expected.squared_zero_point[c]);
  }
}

std::vector<float> normal_values(size_t size, float deviation, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

// Ties, their neighbours one unit in the last place away, codes at and beyond both ends, then
// random values.
std::vector<float> hard_inputs(float scale, std::mt19937& random) {
  std::vector<float> x = {0.0f, -0.0f, 1e-45f, -1e-39f, 1e30f, -1e30f, 8388609.0f};
  for (int k = -90; k <= 90; ++k) {
    const float tie = (static_cast<float>(k) + 0.5f) * scale;
    x.insert(x.end(), {tie, std::nextafter(tie, kInfinity), std::nextafter(tie, -kInfinity),
                       static_cast<float>(k) * scale});
  }
  const std::vector<float> rest = normal_values(1500, 20 * scale, random);
  x.insert(x.end(), rest.begin(), rest.end());
  return x;
}

TEST(FakeQuantizeGradient, IsTheClosedFormOnEveryInstructionSet) {
  on_every_instruction_set([] {
    std::mt19937 random(7);
    for (const int bits : {2, 4, 6, 8, 16}) {
      for (const bool symmetric : {false, true}) {
        const Levels codes = levels(Grid::kOs, bits, symmetric);
        for (const float scale : {1.0f, 0.1f, 1.0f / 3.0f, 0.0317460336f, 1.1920929e-7f, 1234.5f}) {
          const std::vector<float> x = hard_inputs(scale, random);
          const std::vector<float> dy = normal_values(x.size(), 1.0f, random);
          const Shape shape{1, 1, static_cast<int64_t>(x.size())};
          const float odd = std::floor((codes.low + codes.high) / 4) * 2 + 1;
          for (const float zero_point : {0.0f, codes.low, codes.high, odd}) {
            SCOPED_TRACE(testing::Message() << "bits " << bits << " symmetric " << symmetric
                                            << " scale " << scale << " zero point " << zero_point);
            expect_gradient(gradient(x, dy, shape, {scale}, {zero_point}, codes),
                            reference(x, dy, shape, {scale}, {zero_point}, codes));
          }
        }
      }
    }
  });
}

const std::vector<Shape> kShapes = {
    {1, 1, 5},     {1, 1, 16384}, {1, 1, 70001}, {1, 7, 33}, {9, 5, 1},    {3, 67, 1},
    {2, 3, 4},     {4, 1, 1},     {5, 16, 16},   {0, 3, 2},  {700, 70, 1}, {1, 300, 57},
    {3, 2, 20001}, {1, 9, 1},     {20, 1, 9},    {1, 1, 0},  {9000, 2, 1}, {1, 2000, 8}};

// Everything, for one shape: scales and zero points differ, and x has ties.
struct Case {
  std::vector<float> x, dy, scale, zero_point;

  Case(const Shape& shape, std::mt19937& random) {
    std::uniform_real_distribution<float> uniform(0.01f, 2.0f);
    for (int64_t c = 0; c < shape.channels; ++c) {
      scale.push_back(uniform(random));
      zero_point.push_back(static_cast<float>(random() % 64));
    }
    for (int64_t i = 0; i < shape.size(); ++i) {
      x.push_back((static_cast<float>(random() % 256) - 128.5f) * 0.5f *
                  scale[i / shape.inner % shape.channels]);
    }
    dy = normal_values(x.size(), 1.0f, random);
  }
};

TEST(FakeQuantizeGradient, EveryShape) {
  std::mt19937 random(11);
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message()
                 << shape.outer << " x " << shape.channels << " x " << shape.inner);
    const Case of(shape, random);
    expect_gradient(gradient(of.x, of.dy, shape, of.scale, of.zero_point, {0.0f, 63.0f}),
                    reference(of.x, of.dy, shape, of.scale, of.zero_point, {0.0f, 63.0f}));
  }
}

TEST(FakeQuantizeGradient, TheSameBitsOnEveryInstructionSetAndForAnyThreads) {
  for (const Shape& shape : kShapes) {
    std::vector<Gradient> found;
    on_every_instruction_set([&] {
      std::mt19937 random(5);
      const Case of(shape, random);
      for (const ParallelFor parallel_for : {&serial_for, &two_threads}) {
        found.push_back(
            gradient(of.x, of.dy, shape, of.scale, of.zero_point, {0.0f, 63.0f}, parallel_for));
        EXPECT_TRUE(same(found.back(), found.front()))
            << shape.outer << " x " << shape.channels << " x " << shape.inner;
      }
    });
  }
}

TEST(FakeQuantizeGradient, OverwritesDyWhenAskedAndNothingBeyondTheEnd) {
  on_every_instruction_set([] {
    std::mt19937 random(3);
    for (int64_t size = 0; size <= 70; ++size) {
      const Shape shape{1, 1, size};
      const Case of(shape, random);
      const Gradient expected = gradient(of.x, of.dy, shape, of.scale, of.zero_point, {0, 63});
      std::vector<float> dy = of.dy;
      dy.push_back(1.25f);
      float dscale = 0, dzero_point = 0;
      fake_quantize_gradient(of.x.data(), dy.data(), dy.data(), 1, 1, size, of.scale.data(),
                             of.zero_point.data(), {0, 63}, &dscale, &dzero_point);
      EXPECT_EQ(dy.back(), 1.25f) << "size " << size;
      dy.pop_back();
      EXPECT_TRUE(same({dy, {dscale}, {dzero_point}}, expected)) << "size " << size;
    }
  });
}

// The highest and the lowest code themselves let the gradient through.
TEST(FakeQuantizeGradient, TheBoundaryIsInside) {
  on_every_instruction_set([] {
    const std::vector<float> x = {-2.0f, -2.5f, -2.75f, 1.0f, 1.5f, 1.25f};
    const Gradient found =
        gradient(x, std::vector<float>(6, 1.0f), {1, 1, 6}, {1.0f}, {0.0f}, {-2.0f, 1.0f});
    // -2.5 rounds to -2, -2.75 to -3, and 1.5 to 2.
    EXPECT_EQ(found.dx, (std::vector<float>{1, 1, 0, 1, 0, 1}));
    EXPECT_EQ(found.dscale[0], 0.0f + 0.5f - 2.0f + 0.0f + 1.0f - 0.25f);
    EXPECT_EQ(found.dzero_point[0], -2.0f);
  });
}

TEST(FakeQuantizeGradient, InfinitiesSaturateAndNanShows) {
  on_every_instruction_set([] {
    const Shape shape{1, 1, 3};
    const Gradient infinite =
        gradient({kInfinity, -kInfinity, 0.5f}, {1.0f, 2.0f, 4.0f}, shape, {0.5f}, {3.0f}, {0, 15});
    EXPECT_EQ(infinite.dx, (std::vector<float>{0, 0, 4}));
    EXPECT_EQ(infinite.dscale[0], 12.0f - 2 * 3.0f);
    EXPECT_EQ(infinite.dzero_point[0], -0.5f * 3);
    const Gradient nan =
        gradient({kNan, 0.1f, 0.5f}, {1.0f, 2.0f, 4.0f}, shape, {0.5f}, {3.0f}, {0, 15});
    EXPECT_EQ(nan.dx, (std::vector<float>{0, 2, 4}));
    EXPECT_TRUE(std::isnan(nan.dscale[0]));
    EXPECT_EQ(nan.dzero_point[0], -0.5f);
  });
}

}  // namespace
}  // namespace quell::kernels

// Codes and ranges of scaled values against those of the kernels for values that lie in memory.
#include "framework/kernels/scaled_codes.h"

#include <algorithm>
#include <random>

#include "framework/kernels/min_max.h"
#include "framework/kernels/quantize_codes.h"
#include "tests/unit/kernels/hard_inputs.h"
#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

// Rows with ties of the grid where factors are powers of 2, of which many are 1; unless `finite`,
// with infinities and NaN in the first row.
struct Case {
  int64_t rows, features;
  std::vector<float> x, factor;

  Case(std::mt19937& random, int64_t row_count, int64_t feature_count, float scale, bool finite)
      : rows(row_count), features(feature_count) {
    std::uniform_real_distribution<float> uniform(0.01f, 4);
    for (int64_t i = 0; i < features; ++i) {
      const auto kind = random() % 4;
      factor.push_back(kind == 0 ? uniform(random) : kind == 1 ? 0.25f : 1.0f);
    }
    const std::vector<float> hard = hard_inputs(scale, random);
    constexpr size_t kOdd = 18;  // that begin it
    for (int64_t i = 0; i < rows * features; ++i) {
      const bool odd = !finite && i < features && i % 5 == 0;
      x.push_back(hard[odd ? random() % kOdd : kOdd + random() % (hard.size() - kOdd)]);
    }
  }

  std::vector<float> multiplied() const {
    std::vector<float> y = x;
    for (size_t i = 0; i < y.size(); ++i) y[i] *= factor[i % factor.size()];
    return y;
  }
  std::vector<float> divided() const {
    std::vector<float> y = x;
    for (size_t i = 0; i < y.size(); ++i) y[i] /= factor[i % factor.size()];
    return y;
  }
};

void with_cases(const std::function<void(const Case&, float scale)>& check) {
  on_every_instruction_set([&] {
    std::mt19937 random(3);
    for (const int64_t features : {1, 3, 15, 16, 17, 64, 577}) {
      for (const float scale : kAwkwardScales) {
        for (const bool finite : {true, false}) {
          SCOPED_TRACE(testing::Message() << features << " features, scale " << scale);
          check(Case(random, 7, features, scale, finite), scale);
        }
      }
    }
  });
}

TEST(ScaledCodes, OfDividedRows) {
  with_cases([](const Case& of, float scale) {
    for (const Levels levels : {Levels{0, 255}, Levels{0, 63}, Levels{1, 15}}) {
      const float zero_point = (levels.low + levels.high + 1) / 2;
      const std::vector<float> divided = of.divided();
      std::vector<uint8_t> expected(divided.size()), found(divided.size());
      const bool complete =
          quantize_codes_tensor(divided.data(), {expected.data(), CodeType::kUint8},
                                std::ssize(divided), scale, zero_point, levels);
      EXPECT_EQ(quantize_divided_codes(of.x.data(), of.factor.data(), of.rows, of.features,
                                       {scale, zero_point}, levels, found.data()),
                complete);
      EXPECT_EQ(found, expected);
    }
  });
}

TEST(ScaledCodes, OfMultipliedRows) {
  with_cases([](const Case& of, float scale) {
    std::vector<float> scales, zero_points;
    for (int64_t row = 0; row < of.rows; ++row) {
      scales.push_back(scale * static_cast<float>(1 + row % 3));
      zero_points.push_back(static_cast<float>(row - 3));
    }
    const Levels levels{-128, 127};
    const std::vector<float> multiplied = of.multiplied();
    std::vector<int8_t> expected(multiplied.size()), found(multiplied.size());
    const bool complete =
        quantize_codes_channels(multiplied.data(), {expected.data(), CodeType::kInt8}, 1, of.rows,
                                of.features, scales.data(), zero_points.data(), levels);
    EXPECT_EQ(quantize_multiplied_codes(of.x.data(), of.factor.data(), of.rows, of.features,
                                        scales.data(), zero_points.data(), levels, found.data(),
                                        two_threads),
              complete);
    EXPECT_EQ(found, expected);
  });
}

TEST(ScaledCodes, RangesOfMultipliedRows) {
  with_cases([](const Case& of, float) {
    const std::vector<float> multiplied = of.multiplied();
    std::vector<float> min(static_cast<size_t>(of.rows)), max = min;
    min_max_multiplied_rows(of.x.data(), of.factor.data(), of.rows, of.features, min.data(),
                            max.data(), two_threads);
    std::vector<float> expected_min = min, expected_max = max;
    min_max_channels(multiplied.data(), 1, of.rows, of.features, expected_min.data(),
                     expected_max.data());
    for (size_t row = 0; row < min.size(); ++row) {
      // Zeros of both signs are equal.
      EXPECT_TRUE(min[row] == expected_min[row] || same_bits(min[row], expected_min[row])) << row;
      EXPECT_TRUE(max[row] == expected_max[row] || same_bits(max[row], expected_max[row])) << row;
    }
  });
}

}  // namespace
}  // namespace quell::kernels

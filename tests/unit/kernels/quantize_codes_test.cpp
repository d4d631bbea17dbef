#include "framework/kernels/quantize_codes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "framework/kernels/min_max.h"
#include "tests/unit/kernels/hard_inputs.h"
#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

// Room for codes, read back as integers whatever their type.
class CodeBuffer {
 public:
  CodeBuffer(CodeType type, int64_t size)
      : type_(type), bytes_(static_cast<size_t>(size * width() + width()), 0x5a) {}

  Codes codes() { return {bytes_.data(), type_}; }
  std::vector<int> values() const {
    switch (type_) {
      case CodeType::kInt8:
        return as<int8_t>();
      case CodeType::kUint8:
        return as<uint8_t>();
      case CodeType::kInt16:
        return as<int16_t>();
      case CodeType::kUint16:
        return as<uint16_t>();
    }
    return {};
  }
  // Behind the codes nothing was written.
  bool end_is_untouched() const {
    return std::all_of(bytes_.end() - width(), bytes_.end(), [](uint8_t b) { return b == 0x5a; });
  }

 private:
  int64_t width() const { return type_ == CodeType::kInt8 || type_ == CodeType::kUint8 ? 1 : 2; }
  template <typename Code>
  std::vector<int> as() const {
    const auto* first = reinterpret_cast<const Code*>(bytes_.data());
    return {first, first + bytes_.size() / sizeof(Code) - 1};
  }

  CodeType type_;
  std::vector<uint8_t> bytes_;
};

// The definition, one value at a time.
int expected_code(float x, float scale, float zero_point, Levels levels) {
  if (std::isnan(x)) return static_cast<int>(levels.low);
  const float code = std::nearbyint(x / scale) + zero_point;
  return static_cast<int>(std::clamp(code, levels.low, levels.high));
}

TEST(QuantizeCodes, TheSmallestTypeThatHoldsTheGrid) {
  EXPECT_EQ(code_type(levels(Grid::kOs, 8, false)), CodeType::kUint8);
  EXPECT_EQ(code_type(levels(Grid::kOs, 8, true)), CodeType::kInt8);
  EXPECT_EQ(code_type(levels(Grid::kOsPlus, 8, true)), CodeType::kInt8);
  EXPECT_EQ(code_type(levels(Grid::kOs, 2, true)), CodeType::kInt8);
  EXPECT_EQ(code_type(levels(Grid::kOs, 9, true)), CodeType::kInt16);
  EXPECT_EQ(code_type(levels(Grid::kOs, 9, false)), CodeType::kUint16);
  EXPECT_EQ(code_type(levels(Grid::kOs, 16, false)), CodeType::kUint16);
  EXPECT_EQ(code_type(levels(Grid::kOs, 16, true)), CodeType::kInt16);
}

TEST(QuantizeCodes, EveryInstructionSetGivesTheCodesOfTheDefinition) {
  on_every_instruction_set([] {
    std::mt19937 random(17);
    for (int bits : {2, 3, 4, 5, 6, 7, 8, 16}) {
      for (const bool symmetric : {false, true}) {
        const Levels codes = levels(Grid::kOs, bits, symmetric);
        for (const float scale : kAwkwardScales) {
          std::vector<float> x = hard_inputs(scale, random);
          const auto size = static_cast<int64_t>(x.size());
          const float middle = std::floor((codes.low + codes.high) / 2);
          for (const float zero_point : {codes.low, middle, codes.high, 1.0f}) {
            CodeBuffer found(code_type(codes), size);
            EXPECT_FALSE(
                quantize_codes_tensor(x.data(), found.codes(), size, scale, zero_point, codes));
            const std::vector<int> got = found.values();
            for (size_t i = 0; i < x.size(); ++i) {
              ASSERT_EQ(got[i], expected_code(x[i], scale, zero_point, codes))
                  << "bits " << bits << " scale " << scale << " zero point " << zero_point << " x "
                  << x[i];
            }
            ASSERT_TRUE(found.end_is_untouched());
          }
        }
      }
    }
  });
}

TEST(QuantizeCodes, ValuesOfTheSamePassAreThoseOfFakeQuantization) {
  on_every_instruction_set([] {
    std::mt19937 random(19);
    for (const Shape& shape : kShapes) {
      const int64_t size = shape.outer * shape.channels * shape.inner;
      const ChannelCase made = channel_case(shape, random);
      std::vector<float> expected(size);
      fake_quantize_channels(made.x.data(), expected.data(), shape.outer, shape.channels,
                             shape.inner, made.scale.data(), made.zero_point.data(), {0, 63});
      for (const ParallelFor parallel_for : {&serial_for, &two_threads}) {
        std::vector<float> y = made.x;
        CodeBuffer found(CodeType::kUint8, size);
        EXPECT_TRUE(quantize_codes_channels(y.data(), found.codes(), shape.outer, shape.channels,
                                            shape.inner, made.scale.data(), made.zero_point.data(),
                                            {0, 63}, y.data(), parallel_for));
        EXPECT_EQ(first_difference(y, expected), -1);
        EXPECT_TRUE(found.end_is_untouched());
        const std::vector<int> codes = found.values();
        for (int64_t i = 0; i < size; ++i) {
          ASSERT_EQ(codes[i],
                    expected_code(made.x[i], made.scales[i], made.zero_points[i], {0, 63}));
        }
      }
    }
  });
}

TEST(QuantizeCodes, RowsQuantizeByTheirOwnRange) {
  on_every_instruction_set([] {
    std::mt19937 random(23);
    std::normal_distribution<float> normal;
    const int64_t rows = 90, features = 77;
    std::vector<float> x(rows * features);
    for (float& value : x) value = normal(random);
    x[5 * features + 17] = 80.0f;
    for (const bool symmetric : {false, true}) {
      const AffineRule rule = affine_rule(Grid::kOs, 6, symmetric);
      for (const ParallelFor parallel_for : {&serial_for, &two_threads}) {
        std::vector<float> scale(rows), zero_point(rows), y(x.size()), expected(x.size());
        CodeBuffer found(code_type(rule.levels), rows * features);
        EXPECT_TRUE(quantize_codes_rows_dynamic(x.data(), found.codes(), rows, features, rule,
                                                scale.data(), zero_point.data(), y.data(),
                                                parallel_for));
        fake_quantize_rows_dynamic(x.data(), expected.data(), rows, features, rule);
        EXPECT_EQ(first_difference(y, expected), -1);
        const std::vector<int> codes = found.values();
        for (int64_t i = 0; i < rows * features; ++i) {
          const int64_t row = i / features;
          ASSERT_EQ(codes[i], expected_code(x[i], scale[row], zero_point[row], rule.levels));
          ASSERT_TRUE(same_bits((static_cast<float>(codes[i]) - zero_point[row]) * scale[row],
                                expected[i]));
        }
      }
    }
  });
}

TEST(QuantizeCodes, ANanIsReportedWhereverItIs) {
  on_every_instruction_set([] {
    for (size_t at = 0; at < 90; ++at) {
      std::vector<float> x(90, 0.5f), scale(9), zero_point(9), y(90);
      CodeBuffer found(CodeType::kInt8, 90);
      const AffineRule rule = affine_rule(Grid::kOs, 8, true);
      const auto rows = [&] {
        return quantize_codes_rows_dynamic(x.data(), found.codes(), 9, 10, rule, scale.data(),
                                           zero_point.data());
      };
      EXPECT_TRUE(rows());
      x[at] = std::numeric_limits<float>::quiet_NaN();
      EXPECT_FALSE(rows());
      const std::vector<int> codes = found.values();
      for (size_t i = 0; i < 90; ++i) EXPECT_EQ(codes[i] == -128, i / 10 == at / 10);
      EXPECT_FALSE(
          quantize_codes_tensor(x.data(), found.codes(), 90, 0.1f, 0, {-128, 127}, y.data()));
      for (size_t i = 0; i < 90; ++i) EXPECT_EQ(std::isnan(y[i]), i == at);
      const std::vector<float> each_scale(90, 0.1f), each_zero(90, 0.0f);
      EXPECT_FALSE(quantize_codes_channels(x.data(), found.codes(), 1, 90, 1, each_scale.data(),
                                           each_zero.data(), {-128, 127}));
    }
  });
}

}  // namespace
}  // namespace quell::kernels

// Grids and codes as compressed-tensors and vLLM read them.
#include "framework/export/compressed_codes.h"

#include <gmock/gmock.h>

#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <cmath>
#include <random>

#include "framework/base/error.h"

namespace quell {
namespace {

// Half of the longest run of scales, over all zero points and mantissas, that vLLM cuts off.
constexpr float kMostUlps = 49;

void expect_safe(float scale, int32_t zero_point) {
  const InputGrid stored = safe_for_vllm({scale, zero_point});
  EXPECT_EQ(stored.zero_point, zero_point);
  EXPECT_EQ(grid_in_vllm(stored).zero_point, zero_point) << scale;
  const float ulp = std::nextafter(scale, INFINITY) - scale;
  EXPECT_LE(std::abs(stored.scale - scale), kMostUlps * ulp) << scale;
  // Four roundings: two products, their difference, the quotient.
  EXPECT_LE(std::abs(grid_in_vllm(stored).scale - stored.scale), 4 * ulp) << scale;
}

TEST(SafeForVllm, EveryZeroPointSurvives) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<float> exponent(-20, 10);
  int moved = 0;
  for (int32_t zero_point = -128; zero_point <= 127; ++zero_point) {
    for (int i = 0; i < 400; ++i) {
      const float scale = std::exp2(exponent(random));
      expect_safe(scale, zero_point);
      moved += safe_for_vllm({scale, zero_point}).scale != scale;
    }
  }
  // A tenth of all grids would be cut off; the test is of no use where none is.
  EXPECT_GT(moved, 256 * 400 / 20);
}

TEST(SafeForVllm, AllMantissasOfTheWorstZeroPoint) {
  constexpr int32_t kWorst = 126;
  float scale = 1;
  for (int i = 0; i < 1 << 23; i += 7) {
    const InputGrid stored = safe_for_vllm({scale, kWorst});
    if (grid_in_vllm(stored).zero_point != kWorst) {
      ADD_FAILURE() << scale;
      return;
    }
    for (int step = 0; step < 7; ++step) scale = std::nextafter(scale, 2.0F);
  }
}

TEST(SafeForVllm, LeavesASafeGridAsItIs) {
  EXPECT_EQ(safe_for_vllm({0.3F, 0}).scale, 0.3F);
  EXPECT_EQ(safe_for_vllm({0.0123F, 126}).scale, 0.0123F);
}

// What torch 2.11 gives for the lines of cutlass.py.
TEST(GridInVllm, CutsZeroPointsOff) {
  EXPECT_EQ(grid_in_vllm({0.3F, 126}).zero_point, 125);
  EXPECT_EQ(grid_in_vllm({0.3F, 126}).scale, 0.30000004172325134F);
  EXPECT_EQ(grid_in_vllm({0.3F, -2}).zero_point, -1);
  EXPECT_EQ(grid_in_vllm({0.0123F, 126}).zero_point, 126);
  EXPECT_EQ(grid_in_vllm({0.05F, 3}).zero_point, 3);
}

at::Tensor codes_of(std::initializer_list<int64_t> values, int64_t columns) {
  return at::tensor(std::vector<int64_t>(values), at::kLong).to(at::kChar).view({-1, columns});
}

TEST(PackedCodes, LieInWordsFromTheLowestBits) {
  EXPECT_TRUE(at::equal(packed_codes(codes_of({-8, -7, -6, -5, -4, -3, -2, 7, 0}, 9), 4),
                        at::tensor({static_cast<int>(0xf6543210U), 8}, at::kInt).view({1, 2})));
  EXPECT_TRUE(at::equal(packed_codes(codes_of({-128, -127, 0, 127, 1, 2}, 3), 8),
                        at::tensor({0x00800100, 0x008281ff}, at::kInt).view({2, 1})));
}

QuantSpec weight_spec(int64_t bits, bool symmetric, Granularity granularity) {
  QuantSpec spec;
  spec.bits = bits;
  spec.symmetric = symmetric;
  spec.granularity = granularity;
  spec.group_size = 4;
  spec.is_weight = true;
  return spec;
}

TEST(CompressedWeight, GivesTheValuesOfTheGrid) {
  const at::Tensor weight = at::randn({6, 8});
  for (const auto& [bits, stored_bits] : {std::pair(4, 4), {3, 4}, {8, 8}, {6, 8}, {4, 8}}) {
    for (const bool symmetric : {true, false}) {
      for (const Granularity granularity :
           {Granularity::kTensor, Granularity::kChannel, Granularity::kGroup}) {
        const QuantSpec spec = weight_spec(bits, symmetric, granularity);
        const QuantParameters parameters = parameters_from_range(min_max(weight, spec), spec);
        const CompressedWeight stored =
            compressed_weight(integer_codes(weight, parameters, spec), spec, stored_bits);
        const int64_t groups = granularity == Granularity::kGroup ? 2 : 1;
        EXPECT_EQ(stored.scale.sizes(), at::IntArrayRef({6, groups}));
        EXPECT_EQ(stored.zero_point.defined(), !symmetric);
        EXPECT_GE(stored.codes.min().item<int>(), -(1 << (stored_bits - 1)));
        EXPECT_LT(stored.codes.max().item<int>(), 1 << (stored_bits - 1));
        const auto per_value = [&](const at::Tensor& values) {
          return values.to(at::kFloat).repeat_interleave(8 / groups, 1);
        };
        at::Tensor values = stored.codes.to(at::kFloat);
        if (!symmetric) values = values - per_value(stored.zero_point);
        EXPECT_TRUE(at::equal(values * per_value(stored.scale),
                              fake_quantize(weight, parameters, spec, /*in_place=*/false)))
            << bits << " bits, symmetric " << symmetric;
      }
    }
  }
}

TEST(CompressedWeight, RefusesWhatIsNoIntegerGrid) {
  const at::Tensor weight = at::randn({2, 4});
  const QuantSpec spec = weight_spec(8, false, Granularity::kTensor);
  IntegerCodes codes =
      integer_codes(weight, parameters_from_range(min_max(weight, spec), spec), spec);
  codes.parameters.zero_point = at::tensor({7.5F});
  EXPECT_THROW(compressed_weight(codes, spec, 8), Error);
  const QuantSpec symmetric = weight_spec(8, true, Granularity::kTensor);
  codes.parameters.zero_point = at::tensor({3.0F});
  EXPECT_THROW(compressed_weight(codes, symmetric, 8), Error);
}

TEST(InputGrid, CountsFromTheMiddle) {
  const auto grid = [](float zero_point, kernels::Levels levels) {
    return input_grid({at::tensor({0.5F}), at::tensor({zero_point}), levels}).zero_point;
  };
  EXPECT_EQ(grid(0, {-128, 127}), 0);
  EXPECT_EQ(grid(0, {0, 255}), -128);
  EXPECT_EQ(grid(131, {0, 255}), 3);
  EXPECT_EQ(grid(255, {0, 255}), 127);
  EXPECT_THROW(grid(3.5, {0, 255}), Error);
}

}  // namespace
}  // namespace quell

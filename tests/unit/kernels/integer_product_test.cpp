// Products of codes against sums in 64 bits: every route, on every instruction set.
#include "framework/kernels/integer_product.h"

#include <algorithm>
#include <cstdlib>

#include "framework/kernels/packed_product.h"
#include "framework/kernels/quantize_codes.h"
#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

using Random = std::mt19937_64;

int64_t draw(Random& random, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random() % static_cast<uint64_t>(high - low + 1));
}

enum class Codes { kRandom, kExtremes, kHighest, kLowest };

// Codes of rows of x_bits, and of a weight of w_bits.
struct Problem {
  int64_t rows, outputs, inputs;
  int32_t most;
  std::vector<uint8_t> x;
  std::vector<int8_t> w;
  std::vector<float> x_scale, x_zero, w_scale, bias;
  std::vector<int32_t> w_zero;
  bool per_row;

  Problem(Random& random, int64_t row_count, int64_t output_count, int64_t input_count, int x_bits,
          int w_bits, Codes kind)
      : rows(row_count), outputs(output_count), inputs(input_count), most((1 << x_bits) - 1) {
    const int64_t low = -(1 << (w_bits - 1)), high = -low - 1;
    const auto code = [&](int64_t least, int64_t largest) {
      switch (kind) {
        case Codes::kRandom:
          return draw(random, least, largest);
        case Codes::kExtremes:
          return random() % 2 == 0 ? least : largest;
        case Codes::kHighest:
          return largest;
        case Codes::kLowest:
          return least;
      }
      return least;
    };
    for (int64_t i = 0; i < rows * inputs; ++i) {
      x.push_back(static_cast<uint8_t>(code(kind == Codes::kLowest ? most : 0, most)));
    }
    for (int64_t i = 0; i < outputs * inputs; ++i)
      w.push_back(static_cast<int8_t>(code(low, high)));
    per_row = random() % 2 == 0;
    for (int64_t i = 0; i < (per_row ? rows : 1); ++i) {
      x_scale.push_back(static_cast<float>(draw(random, 1, 1000)) / 3000);
      x_zero.push_back(static_cast<float>(draw(random, 0, most)));
    }
    const bool symmetric = random() % 2 == 0;
    for (int64_t i = 0; i < outputs; ++i) {
      w_scale.push_back(static_cast<float>(draw(random, 1, 1000)) / 70000);
      w_zero.push_back(symmetric ? 0 : static_cast<int32_t>(draw(random, low, high)));
      bias.push_back(static_cast<float>(draw(random, -1000, 1000)) / 300);
    }
  }

  IntegerMatrix matrix() const {
    return {w.data(), outputs, inputs, w_scale.data(), w_zero.data()};
  }
  IntegerRows codes() const { return {x.data(), rows, x_scale.data(), x_zero.data(), per_row}; }
  float scale_of(int64_t row) const { return x_scale[per_row ? row : 0]; }

  std::vector<int64_t> sums() const {
    return sums_of([](int64_t pair) { return pair; });
  }
  // As VPMADDUBSW adds two products.
  std::vector<int64_t> saturated_sums() const {
    return sums_of([](int64_t pair) { return std::clamp<int64_t>(pair, -32768, 32767); });
  }

 private:
  // `of_pair` of the sum of two products of codes; zero points are taken off afterwards.
  template <class OfPair>
  std::vector<int64_t> sums_of(const OfPair& of_pair) const {
    std::vector<int64_t> all;
    for (int64_t r = 0; r < rows; ++r) {
      const auto zero = static_cast<int64_t>(x_zero[per_row ? r : 0]);
      for (int64_t o = 0; o < outputs; ++o) {
        int64_t sum = 0, of_x = 0, of_w = 0;
        for (int64_t k = 0; k < inputs; k += 2) {
          int64_t pair = 0;
          for (int64_t i = k; i < std::min(k + 2, inputs); ++i) {
            const int64_t code = x[r * inputs + i], weight = w[o * inputs + i];
            pair += code * weight;
            of_x += code;
            of_w += weight;
          }
          sum += of_pair(pair);
        }
        all.push_back(sum - zero * of_w - w_zero[o] * of_x + inputs * zero * w_zero[o]);
      }
    }
    return all;
  }
};

// Sums by a route; another number behind the end stays.
std::vector<int64_t> sums_by(const Problem& of, IntegerRoute route,
                             ParallelFor parallel_for = serial_for,
                             CodeStorage storage = CodeStorage::kBytes) {
  const IntegerWeight weight(of.matrix(), of.most, route, storage);
  std::vector<int32_t> sums(static_cast<size_t>(of.rows * of.outputs + 1), 77);
  integer_product(of.codes(), weight, {}, {.sums = sums.data()}, parallel_for);
  EXPECT_EQ(sums.back(), 77);
  return {sums.begin(), sums.end() - 1};
}

int64_t shapes_to_try() {
  const char* many = std::getenv("QUELL_FUZZED_SHAPES");  // a million, by hand
  return many == nullptr ? 300 : std::atoll(many);
}

TEST(IntegerProduct, EveryRouteIsExact) {
  on_every_instruction_set([] {
    Random random(5);
    for (int64_t i = 0; i < shapes_to_try(); ++i) {
      const auto kind = static_cast<Codes>(i % 4);
      // Whole steps and tiles are read in place.
      const int64_t inputs =
          i % 5 == 0 ? 64 * draw(random, 1, 4) : draw(random, 1, i % 7 == 0 ? 300 : 40);
      const Problem of(
          random, draw(random, 1, i % 11 == 0 ? 120 : 27), draw(random, 1, i % 9 == 0 ? 290 : 40),
          inputs, static_cast<int>(draw(random, 2, 8)), static_cast<int>(draw(random, 2, 8)), kind);
      const std::vector<int64_t> expected = of.sums();
      for (const IntegerRoute route : IntegerWeight::routes(of.matrix(), of.most)) {
        for (const CodeStorage storage : {CodeStorage::kBytes, CodeStorage::kFewestBits}) {
          ASSERT_EQ(sums_by(of, route, serial_for, storage), expected)
              << to_string(route) << ": " << of.rows << " x " << of.outputs << " x " << of.inputs
              << ", shape " << i << ", " << (storage == CodeStorage::kBytes ? "bytes" : "bits");
        }
      }
    }
  });
}

TEST(IntegerProduct, SaturatingSumsAreThoseOfTheInstruction) {
  on_every_instruction_set([] {
    Random random(15);
    int64_t saturated = 0;
    for (int64_t i = 0; i < shapes_to_try(); ++i) {
      const auto kind = static_cast<Codes>(i % 4);
      const Problem of(random, draw(random, 1, 27), draw(random, 1, 40),
                       draw(random, 1, i % 7 == 0 ? 300 : 40), static_cast<int>(draw(random, 7, 8)),
                       static_cast<int>(draw(random, 7, 8)), kind);
      const std::vector<int64_t> expected = of.saturated_sums();
      ASSERT_EQ(sums_by(of, IntegerRoute::kSaturating), expected)
          << of.rows << " x " << of.outputs << " x " << of.inputs << ", shape " << i;
      saturated += expected != of.sums();
    }
    EXPECT_GT(saturated, shapes_to_try() / 4);
  });
}

TEST(IntegerProduct, SaturatingSumsOfFewBitsAreExact) {
  Random random(16);
  for (const auto& [x_bits, w_bits] : {std::pair(8, 7), std::pair(7, 8), std::pair(6, 6)}) {
    const Problem of(random, 9, 40, 99, x_bits, w_bits, Codes::kExtremes);
    EXPECT_EQ(sums_by(of, IntegerRoute::kSaturating), of.sums()) << x_bits << " x " << w_bits;
  }
}

TEST(IntegerProduct, TheLargestSumsFit) {
  on_every_instruction_set([] {
    Random random(6);
    for (const Codes kind : {Codes::kHighest, Codes::kLowest}) {
      Problem of(random, 2, 3, IntegerWeight::kMostInputs, 8, 8, kind);
      std::fill(of.x_zero.begin(), of.x_zero.end(), 0.0f);
      std::fill(of.w_zero.begin(), of.w_zero.end(), kind == Codes::kHighest ? -128 : 127);
      for (const IntegerRoute route : IntegerWeight::routes(of.matrix(), of.most)) {
        EXPECT_EQ(sums_by(of, route), of.sums()) << to_string(route);
      }
    }
  });
}

TEST(IntegerProduct, ThreadsDoNotChangeASum) {
  Random random(7);
  const Problem of(random, 203, 300, 77, 8, 8, Codes::kRandom);
  for (const IntegerRoute route : IntegerWeight::routes(of.matrix(), of.most)) {
    EXPECT_EQ(sums_by(of, route, two_threads), of.sums()) << to_string(route);
  }
  const Problem narrow(random, 203, 300, 77, 8, 4, Codes::kRandom);
  for (const IntegerRoute route : IntegerWeight::routes(narrow.matrix(), narrow.most)) {
    EXPECT_EQ(sums_by(narrow, route, two_threads, CodeStorage::kFewestBits), narrow.sums())
        << to_string(route);
  }
}

TEST(IntegerWeight, HoldsCodesInAsFewBitsAsTheyTake) {
  Random random(17);
  constexpr int64_t kSize = 256, kOfOutput = 12;  // scale, zero point and sum
  for (const auto& [w_bits, stored] :
       {std::pair(2, 4), std::pair(4, 4), std::pair(5, 6), std::pair(6, 6), std::pair(7, 8)}) {
    const Problem of(random, 1, kSize, kSize, 8, w_bits, Codes::kExtremes);
    for (const IntegerRoute route : IntegerWeight::routes(of.matrix(), of.most)) {
      const IntegerWeight weight(of.matrix(), of.most, route, CodeStorage::kFewestBits);
      const int64_t bits = stored == 8 && route == IntegerRoute::kWide ? 16 : stored;
      EXPECT_EQ(weight.bits(), stored);
      EXPECT_EQ(weight.bytes(), kSize * kSize * bits / 8 + kSize * kOfOutput) << to_string(route);
    }
    EXPECT_EQ(IntegerWeight(of.matrix(), of.most).bits(), 8) << "unless it is asked for";
  }
}

// 16 bits hold sums of pairs of 8 x 7 bits, and of 16 products of 6 x 6 bits; one pair of extreme
// codes of 8 x 8 bits is too much.
TEST(IntegerProduct, TakesPairsOnlyWhereNoneCanOverflow) {
  on_every_instruction_set([] {
    Random random(8);
    const auto steps = [&](int x_bits, int w_bits, Codes kind) {
      const Problem of(random, 1, 20, 100, x_bits, w_bits, kind);
      const auto routes = IntegerWeight::routes(of.matrix(), of.most);
      if (std::find(routes.begin(), routes.end(), IntegerRoute::kPairs) == routes.end()) {
        return int64_t{0};
      }
      return IntegerWeight(of.matrix(), of.most, IntegerRoute::kPairs).steps_together();
    };
    const bool none = steps(2, 2, Codes::kRandom) == 0;  // of this instruction set
    EXPECT_EQ(steps(8, 8, Codes::kLowest), 0);
    EXPECT_EQ(steps(8, 8, Codes::kHighest), 0);
    EXPECT_EQ(steps(8, 7, Codes::kExtremes), none ? 0 : 1);
    EXPECT_EQ(steps(6, 6, Codes::kLowest), none ? 0 : 8);
    EXPECT_EQ(steps(8, 4, Codes::kLowest), none ? 0 : 8);
  });
}

float activated(Activation activation, float x) {
  const float one = 1;
  float y;
  packed_product(&x, 1, PackedWeight(&one, 1, 1), {nullptr, activation, nullptr}, &y);
  return y;
}

TEST(IntegerProduct, ScalesAndQuantizesInTheStatedOrder) {
  on_every_instruction_set([] {
    Random random(9);
    for (const Activation activation :
         {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh}) {
      for (int i = 0; i < 12; ++i) {
        const Problem of(random, draw(random, 1, 20), draw(random, 1, 50), draw(random, 1, 50), 8,
                         8, Codes::kRandom);
        const bool has_bias = i % 2 == 0;
        const std::vector<int64_t> sums = of.sums();
        std::vector<float> expected;
        for (size_t at = 0; at < sums.size(); ++at) {
          const size_t row = at / of.outputs, output = at % of.outputs;
          const float scale = of.scale_of(row) * of.w_scale[output];
          float y = static_cast<float>(sums[at]) * scale;
          if (has_bias) y = y + of.bias[output];
          expected.push_back(activated(activation, y));
        }
        const IntegerWeight weight(of.matrix(), of.most);
        const IntegerEpilogue epilogue{has_bias ? of.bias.data() : nullptr, activation};
        std::vector<float> y(sums.size());
        integer_product(of.codes(), weight, epilogue, {.y = y.data()});
        ASSERT_EQ(first_difference(y, expected), -1);

        const OutputGrid grid{0.037f, 100, 255};
        std::vector<float> expected_values(sums.size());
        std::vector<uint8_t> codes(sums.size()), expected_codes(sums.size());
        quantize_codes_tensor(expected.data(), {expected_codes.data(), CodeType::kUint8},
                              static_cast<int64_t>(sums.size()), grid.scale, grid.zero_point,
                              {0, grid.most}, expected_values.data());
        integer_product(of.codes(), weight, epilogue,
                        {.y = y.data(), .codes = codes.data(), .grid = grid});
        EXPECT_EQ(codes, expected_codes);
        ASSERT_EQ(first_difference(y, expected_values), -1);
        std::fill(codes.begin(), codes.end(), 77);
        integer_product(of.codes(), weight, epilogue, {.codes = codes.data(), .grid = grid});
        EXPECT_EQ(codes, expected_codes);  // without values
      }
    }
  });
}

// Values of which many have a GELU next to the middle between two codes, or are none.
std::vector<float> hard_for_gelu(float scale, float zero) {
  constexpr int64_t kMost = 255;
  Random random(10);
  std::vector<float> values = {0.0f, -0.0f, 1e30f, -1e30f, INFINITY, 4.9999f, 5.0f, -5.0f};
  for (int i = 0; i < 3000; ++i)
    values.push_back(static_cast<float>(draw(random, -9000, 9000)) / 1000);
  for (int64_t code = 0; code < kMost; ++code) {
    const double middle = (static_cast<double>(code) + 0.5 - zero) * scale;
    double low = -0.75, high = 12;  // GELU grows in between
    if (middle < -0.169 || middle > 12) continue;
    for (int i = 0; i < 60; ++i) {
      const double x = (low + high) / 2;
      (x * std::erfc(-x / std::sqrt(2.0)) / 2 < middle ? low : high) = x;
    }
    auto x = static_cast<float>(low);
    for (int i = 0; i < 4; ++i) x = std::nextafter(x, -1.0f);
    for (int i = 0; i < 8; ++i, x = std::nextafter(x, 20.0f)) values.push_back(x);
    for (const float off : {1e-5f, -1e-5f, 1e-4f, -1e-4f}) values.push_back(x + off);
  }
  return values;
}

TEST(IntegerProduct, CodesOfGeluAreThoseOfItsValues) {
  on_every_instruction_set([] {
    constexpr int64_t kOutputs = 20;
    const std::vector<int8_t> w(kOutputs, 1);
    const std::vector<int32_t> w_zero(kOutputs, 0);
    std::vector<float> w_scale;
    for (int64_t o = 0; o < kOutputs; ++o) w_scale.push_back(1 + static_cast<float>(o) * 0x1p-18f);
    const IntegerWeight weight({w.data(), kOutputs, 1, w_scale.data(), w_zero.data()}, 1);
    for (const OutputGrid grid : {OutputGrid{0.037f, 5, 255}, OutputGrid{0.9f, 1, 15},
                                  OutputGrid{0.0011f, 150, 255}, OutputGrid{1e-4f, 200, 255}}) {
      const std::vector<float> values = hard_for_gelu(grid.scale, grid.zero_point);
      const auto rows = static_cast<int64_t>(values.size());
      const std::vector<uint8_t> x(values.size(), 1);
      const std::vector<float> x_zero(values.size(), 0.0f);
      std::vector<float> before, after(values.size() * kOutputs), rounded(after.size());
      for (const float value : values) {
        for (const float scale : w_scale) before.push_back(value * scale);
      }
      const float one = 1;
      const auto count = static_cast<int64_t>(before.size());
      packed_product(before.data(), count, PackedWeight(&one, 1, 1),
                     {nullptr, Activation::kGelu, nullptr}, after.data());
      std::vector<uint8_t> codes(after.size()), expected(after.size());
      quantize_codes_tensor(after.data(), {expected.data(), CodeType::kUint8}, count, grid.scale,
                            grid.zero_point, {0, grid.most}, rounded.data());
      integer_product({x.data(), rows, values.data(), x_zero.data(), /*per_row=*/true}, weight,
                      {nullptr, Activation::kGelu}, {.codes = codes.data(), .grid = grid});
      for (size_t i = 0; i < codes.size(); ++i) {
        ASSERT_EQ(codes[i], expected[i]) << before[i] << " on a grid of " << grid.scale;
      }
    }
  });
}

}  // namespace
}  // namespace quell::kernels

#include "framework/kernels/silu.h"

#include <limits>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

std::vector<float> inputs() {
  std::vector<float> x = {0, -0.0f, 1e-30f, -1e-30f, 100, -100, 1e30f, -1e30f};
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i) * 0.0237f);
  return x;
}

TEST(Silu, IsCloseToItsFormulaInDoublePrecision) {
  on_every_instruction_set([] {
    const std::vector<float> x = inputs();
    std::vector<float> y = x;
    silu(y.data(), std::ssize(y), two_threads);
    for (size_t i = 0; i < x.size(); ++i) {
      const double value = x[i], expected = value / (1 + std::exp(-value));
      // What the header promises: 4 units, of 2^-24 each.
      EXPECT_NEAR(y[i], expected, std::abs(expected) * 0x1p-22 + 1e-34) << x[i];
    }
  });
}

TEST(Silu, LengthsAndThreadsDoNotChangeABit) {
  on_every_instruction_set([] {
    const std::vector<float> x = inputs();
    std::vector<float> whole = x;
    silu(whole.data(), std::ssize(whole));
    for (const int64_t length : {1, 3, 15, 16, 17, 33}) {
      std::vector<float> parts = x;
      for (int64_t i = 0; i < std::ssize(x); i += length) {
        silu(parts.data() + i, std::min(length, std::ssize(x) - i));
      }
      EXPECT_EQ(first_difference(parts, whole), -1) << length;
    }
  });
}

TEST(Silu, NanStays) {
  on_every_instruction_set([] {
    std::vector<float> x = {1, std::numeric_limits<float>::quiet_NaN(), 2};
    silu(x.data(), std::ssize(x));
    EXPECT_TRUE(std::isnan(x[1]));
    EXPECT_FALSE(std::isnan(x[0]) || std::isnan(x[2]));
  });
}

}  // namespace
}  // namespace quell::kernels

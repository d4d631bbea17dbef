// Quotients by a reciprocal against those of a division, bit for bit.
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/unit/kernels/quotient_test.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/quotient-inl.h"
#include "tests/unit/kernels/support.h"

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// y = x / divisor; `size` is a multiple of any number of lanes.
void divide_by_reciprocals(const float* x, const float* divisor, float* y, int64_t size) {
  const hn::ScalableTag<float> tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t i = 0; i < size; i += lanes) {
    const auto by = hn::LoadU(tag, divisor + i);
    const ByReciprocal<hn::Vec<decltype(tag)>> quotient{by, hn::Div(hn::Set(tag, 1.0f), by)};
    hn::StoreU(quotient(hn::LoadU(tag, x + i)), tag, y + i);
  }
}

void divide_by_one(const float* x, float divisor, float* y, int64_t size) {
  const hn::ScalableTag<float> tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  with_quotient<hn::Vec<decltype(tag)>>(divisor, size, [&](const auto& quotient) {
    for (int64_t i = 0; i < size; i += lanes) {
      hn::StoreU(quotient(hn::LoadU(tag, x + i)), tag, y + i);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(divide_by_reciprocals);
HWY_EXPORT(divide_by_one);

constexpr size_t kMostLanes = 64;  // of any instruction set

struct Divisions {
  std::vector<float> x, divisor;

  // All quotients of numbers of 24 bits that are nearer to middle / 2^power than 2^-20 units in the
  // last place: 2^shift * a = b * middle + left, which for every small `left` gives one b.
  void add_near(uint64_t middle, int power) {
    uint64_t inverse = middle;  // of an odd number modulo 2^64; each step doubles its right bits
    for (int i = 0; i < 5; ++i) inverse *= 2 - middle * inverse;
    for (const int shift : {24, 25}) {
      for (int64_t left = -16; left <= 16; ++left) {
        const auto rest = static_cast<uint64_t>(left);
        const uint64_t b = (0 - rest) * inverse & ((uint64_t{1} << shift) - 1);
        const uint64_t a = (b * middle + rest) >> shift;
        if (a >> 23 != 1 || b >> 23 != 1) continue;
        x.push_back(std::ldexp(static_cast<float>(a), shift - 23 - power));
        divisor.push_back(std::ldexp(static_cast<float>(b), -23));
      }
    }
  }

  void fill_vectors() {
    x.resize((x.size() + kMostLanes - 1) / kMostLanes * kMostLanes, 1.0f);
    divisor.resize(x.size(), 1.0f);
  }

  void expect_equal() {
    fill_vectors();
    std::vector<float> expected(x.size()), y(x.size());
    std::transform(x.begin(), x.end(), divisor.begin(), expected.begin(), std::divides<>());
    on_every_instruction_set([&] {
      HWY_DYNAMIC_DISPATCH(divide_by_reciprocals)
      (x.data(), divisor.data(), y.data(), static_cast<int64_t>(x.size()));
      const int64_t at = first_difference(y, expected);
      ASSERT_EQ(at, -1) << x[at] << " / " << divisor[at];
    });
  }
};

// A quotient that is off by 2^-21 units in the last place before it is rounded shows only where the
// middle between two neighbours lies so near. Of these cases, all that decide a code of 16 bits:
// beside k + 0.5.
TEST(Quotient, CodesAreThoseOfDivisions) {
  Divisions all;
  for (uint64_t k = 0; k < 65536; ++k) {
    const uint64_t tie = 2 * k + 1;
    const int power = 25 - std::bit_width(tie);
    all.add_near((tie << power) + 1, power + 1);
    if (k > 0) all.add_near((tie << power) - 1, power + 1);
  }
  all.add_near((1u << 25) - 1, 26);  // below 0.5, where floats are twice as dense
  ASSERT_GT(all.x.size(), 1400000u);
  all.expect_equal();
}

// And a sample of all others.
TEST(Quotient, EveryBitIsThatOfADivision) {
  Divisions all;
  for (uint64_t middle = (1u << 24) + 1; middle < 1u << 25; middle += 2 * 211) {
    all.add_near(middle, 24);
  }
  ASSERT_GT(all.x.size(), 400000u);
  all.expect_equal();
}

// Divisors with and without a reciprocal, few and many quotients.
TEST(Quotient, InfinitiesAndNan) {
  std::vector<float> x = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 3e38f, -3e38f, 1.0f};
  x.resize(512, 2.0f);
  on_every_instruction_set([&] {
    for (const float divisor : {0.3f, 1e-17f, 1e17f, 1e-30f, 1e30f}) {
      for (const int64_t size : {64, 512}) {
        std::vector<float> y(size);
        HWY_DYNAMIC_DISPATCH(divide_by_one)(x.data(), divisor, y.data(), size);
        for (int64_t i = 0; i < size; ++i) {
          if (x[i] == 0) {  // of either sign
            EXPECT_EQ(y[i], 0);
          } else {
            EXPECT_TRUE(same_bits(y[i], x[i] / divisor)) << x[i] << " / " << divisor;
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace quell::kernels
#endif  // HWY_ONCE

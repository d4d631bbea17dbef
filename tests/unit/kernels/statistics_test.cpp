#include "framework/kernels/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The definition in extended precision, reading twice.
Moments by_hand(const std::vector<float>& x, float low, float high) {
  Moments expected;
  expected.count = static_cast<int64_t>(x.size());
  long double sum = 0, m2 = 0, m3 = 0, m4 = 0;
  for (const float value : x) {
    sum += value;
    expected.min = std::min(expected.min, value);
    expected.max = std::max(expected.max, value);
    expected.outside += value < low || value > high ? 1 : 0;
  }
  const long double mean = sum / static_cast<long double>(x.size());
  for (const float value : x) {
    const long double d = value - mean;
    m2 += d * d;
    m3 += d * d * d;
    m4 += d * d * d * d;
  }
  expected.mean = static_cast<double>(mean);
  expected.m2 = static_cast<double>(m2);
  expected.m3 = static_cast<double>(m3);
  expected.m4 = static_cast<double>(m4);
  return expected;
}

// float32 sums over 32 to 64 values are good to some 1e-7 of the sum of absolute terms.
void expect_near(const Moments& found, const Moments& expected) {
  constexpr double kTolerance = 2e-6;
  const double n = static_cast<double>(expected.count);
  const double deviation = std::sqrt(expected.m2 / n);
  EXPECT_EQ(found.count, expected.count);
  EXPECT_EQ(found.min, expected.min);
  EXPECT_EQ(found.max, expected.max);
  EXPECT_EQ(found.outside, expected.outside);
  EXPECT_NEAR(found.mean, expected.mean, kTolerance * deviation + 1e-14 * std::fabs(expected.mean));
  EXPECT_NEAR(found.m2, expected.m2, kTolerance * expected.m2);
  // |d|^3 is at most what lies between its neighbours.
  EXPECT_NEAR(found.m3, expected.m3, kTolerance * std::sqrt(expected.m2 * expected.m4));
  EXPECT_NEAR(found.m4, expected.m4, kTolerance * expected.m4);
}

struct Found {
  std::vector<Moments> channels, tokens;
};

Found statistics(const std::vector<float>& x, int64_t features, Limits limits,
                 ParallelFor parallel_for = serial_for) {
  const auto rows = static_cast<int64_t>(x.size()) / features;
  Found found{std::vector<Moments>(features), std::vector<Moments>(rows)};
  add_statistics(x.data(), rows, features, limits, found.channels.data(), found.tokens.data(),
                 parallel_for);
  return found;
}

// Column i of x has limits -1 and i.
void expect_definition(const Found& found, const std::vector<float>& x, int64_t features,
                       const std::vector<float>& low, const std::vector<float>& high) {
  const auto rows = static_cast<int64_t>(x.size()) / features;
  for (int64_t i = 0; i < features; ++i) {
    SCOPED_TRACE("channel " + std::to_string(i));
    std::vector<float> column(rows);
    for (int64_t row = 0; row < rows; ++row) column[row] = x[row * features + i];
    expect_near(found.channels[i], by_hand(column, low[i], high[i]));
  }
  for (int64_t row = 0; row < rows; ++row) {
    SCOPED_TRACE("token " + std::to_string(row));
    const std::vector<float> token(x.begin() + row * features, x.begin() + (row + 1) * features);
    Moments expected = by_hand(token, -kInfinity, kInfinity);
    for (int64_t i = 0; i < features; ++i) {
      expected.outside += token[i] < low[i] || token[i] > high[i] ? 1 : 0;
    }
    expect_near(found.tokens[row], expected);
  }
}

using Make = std::function<float(int64_t row, int64_t column, std::mt19937& random)>;

float normal(std::mt19937& random) { return std::normal_distribution<float>()(random); }

// What strains sums: a mean far from zero, outliers, drift, and the ends of the range of float.
const std::vector<std::pair<const char*, Make>> kInputs = {
    {"normal", [](int64_t, int64_t, std::mt19937& r) { return normal(r); }},
    {"far mean", [](int64_t, int64_t c, std::mt19937& r) { return 1000.0f * (c + 1) + normal(r); }},
    {"very far mean", [](int64_t, int64_t, std::mt19937& r) { return 1e6f + normal(r); }},
    {"outliers",
     [](int64_t row, int64_t c, std::mt19937& r) {
       return normal(r) * (c % 7 == 3 ? 40.0f : 1.0f) * (row % 50 == 1 ? 300.0f : 1.0f);
     }},
    {"drift",
     [](int64_t row, int64_t, std::mt19937& r) { return (row < 40 ? 1000.0f : 0.0f) + normal(r); }},
    {"late drift",
     [](int64_t row, int64_t, std::mt19937& r) { return (row > 300 ? 1e4f : 0.0f) + normal(r); }},
    {"small", [](int64_t, int64_t, std::mt19937& r) { return 1e-8f * (3 + normal(r)); }},
    {"tiny", [](int64_t, int64_t, std::mt19937& r) { return 1e-20f * normal(r); }},
    {"denormal", [](int64_t, int64_t, std::mt19937& r) { return 1e-41f * normal(r); }},
    {"large", [](int64_t, int64_t, std::mt19937& r) { return 1e8f * normal(r); }},
    {"huge", [](int64_t, int64_t, std::mt19937& r) { return 3e37f * normal(r); }},
    {"one huge", [](int64_t row, int64_t c,
                    std::mt19937& r) { return row == 2 && c == 0 ? 1e10f : normal(r); }},
    {"zero", [](int64_t, int64_t, std::mt19937&) { return 0.0f; }},
    {"constant", [](int64_t, int64_t c, std::mt19937&) { return 0.1f * static_cast<float>(c); }},
};

// Bits, not values: m3 may be -0.
bool same(const std::vector<Moments>& a, const std::vector<Moments>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Moments& p, const Moments& q) {
    const double of_p[] = {p.mean, p.m2, p.m3, p.m4}, of_q[] = {q.mean, q.m2, q.m3, q.m4};
    return p.count == q.count && p.outside == q.outside && same_bits(p.min, q.min) &&
           same_bits(p.max, q.max) && std::memcmp(of_p, of_q, sizeof(of_p)) == 0;
  });
}

TEST(Statistics, EveryInstructionSetGivesTheDefinitionAndTheSameBits) {
  for (const auto& [rows, features] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {2, 3}, {31, 16}, {33, 17}, {700, 5}, {1100, 37}, {3, 2100}}) {
    for (const auto& [name, make] : kInputs) {
      SCOPED_TRACE(std::string(name) + ", " + std::to_string(rows) + " x " +
                   std::to_string(features));
      std::mt19937 random(9);
      std::vector<float> x(rows * features), low(features, -1.0f), high(features);
      for (int64_t i = 0; i < rows * features; ++i) x[i] = make(i / features, i % features, random);
      for (int64_t i = 0; i < features; ++i) high[i] = static_cast<float>(i % 3);
      const Found first = statistics(x, features, {low.data(), high.data()});
      expect_definition(first, x, features, low, high);
      on_every_instruction_set([&] {
        for (const ParallelFor parallel_for : {&serial_for, &two_threads}) {
          const Found found = statistics(x, features, {low.data(), high.data()}, parallel_for);
          EXPECT_TRUE(same(found.channels, first.channels));
          EXPECT_TRUE(same(found.tokens, first.tokens));
        }
      });
      if (HasFailure()) return;  // one input says enough
    }
  }
}

TEST(Statistics, BatchesMerge) {
  std::mt19937 random(10);
  const int64_t features = 11;
  std::vector<float> x(1300 * features);
  for (float& value : x) value = std::exp(normal(random));  // skewed
  const Found whole = statistics(x, features, {});
  std::vector<Moments> channels(features);
  int64_t begin = 0;
  for (const int64_t rows : {7, 0, 600, 1, 692}) {
    add_statistics(x.data() + begin * features, rows, features, {}, channels.data(), nullptr);
    begin += rows;
  }
  // Other blocks, other rounding: as good as before.
  for (int64_t i = 0; i < features; ++i) expect_near(channels[i], whole.channels[i]);

  Moments all, reversed;
  for (const Moments& token : whole.tokens) merge(token, all);
  for (auto token = whole.tokens.rbegin(); token != whole.tokens.rend(); ++token) {
    merge(*token, reversed);
  }
  expect_near(all, by_hand(x, -kInfinity, kInfinity));
  expect_near(reversed, all);
}

TEST(Statistics, KnownShapes) {
  const Found found = statistics({1, 2, 3, 4, 10}, 5, {});
  EXPECT_DOUBLE_EQ(found.tokens[0].mean, 4);
  EXPECT_DOUBLE_EQ(found.tokens[0].variance(), 10);
  // By hand: the sums of powers of (-3, -2, -1, 0, 6) are 50, 180 and 1394.
  EXPECT_NEAR(found.tokens[0].skewness(), std::sqrt(5.0) * 180 / std::pow(50.0, 1.5), 1e-12);
  EXPECT_NEAR(found.tokens[0].kurtosis(), 2.788, 1e-12);
}

TEST(Statistics, AValueThatIsNotFiniteStaysInItsTokenAndChannel) {
  on_every_instruction_set([] {
    const int64_t rows = 70, features = 21;
    for (const float value : {kNan, kInfinity, -kInfinity}) {
      for (const int64_t at : {0, 20, 40 * 21 + 3, 69 * 21 + 20}) {
        std::mt19937 random(12);
        std::vector<float> x(rows * features), low(features, -1), high(features, 1);
        for (float& other : x) other = normal(random);
        x[at] = value;
        const Found found = statistics(x, features, {low.data(), high.data()});
        const auto expect = [&](const Moments& moments, bool here) {
          EXPECT_EQ(std::isnan(moments.m4), here);
          EXPECT_EQ(std::isnan(moments.mean), here);
          EXPECT_EQ(std::isnan(moments.min), here && std::isnan(value));
          EXPECT_EQ(std::isnan(moments.max), here && std::isnan(value));
          EXPECT_EQ(std::isinf(moments.min), here && value == -kInfinity);
          EXPECT_EQ(std::isinf(moments.max), here && value == kInfinity);
        };
        for (int64_t i = 0; i < features; ++i) expect(found.channels[i], i == at % features);
        for (int64_t i = 0; i < rows; ++i) expect(found.tokens[i], i == at / features);
        // An infinity is outside, a NaN is not.
        int64_t outside = 0;
        for (const float other : x) outside += other < -1 || other > 1 ? 1 : 0;
        int64_t of_channels = 0, of_tokens = 0;
        for (const Moments& moments : found.channels) of_channels += moments.outside;
        for (const Moments& moments : found.tokens) of_tokens += moments.outside;
        EXPECT_EQ(of_channels, outside);
        EXPECT_EQ(of_tokens, outside);
      }
    }
  });
}

TEST(Statistics, NothingChangesNothing) {
  Moments channel{3, 1, 2, 3, 4, 0, 2, 1}, before = channel;
  add_statistics(nullptr, 0, 1, {}, &channel, nullptr);
  merge(Moments{}, channel);
  EXPECT_TRUE(same({channel}, {before}));
}

TEST(FindOutside, IndicesOfAnySize) {
  on_every_instruction_set([] {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    for (const int64_t size : {0, 1, 15, 16, 17, 200}) {
      std::vector<float> x(size);
      for (float& value : x) value = normal(random);
      if (size > 16) x[16] = NAN;  // lies nowhere
      if (size > 17) x[17] = INFINITY;
      for (const float limit : {0.0f, 1.0f, 2.5f, 1e30f}) {
        std::vector<int32_t> expected, found(size);
        for (int64_t i = 0; i < size; ++i) {
          if (x[i] < -limit || x[i] > limit / 2) expected.push_back(static_cast<int32_t>(i));
        }
        found.resize(find_outside(x.data(), size, -limit, limit / 2, found.data()));
        EXPECT_EQ(found, expected) << size << " values, limit " << limit;
      }
    }
  });
}

}  // namespace
}  // namespace quell::kernels

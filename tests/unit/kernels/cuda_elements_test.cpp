// What the kernels on a GPU do to single values and how they cut their work, checked where there is
// no GPU: against the kernels of the CPU and against laws.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "framework/kernels/cuda.h"
#include "framework/kernels/cuda/moments.h"
#include "framework/kernels/cuda/partition.h"
#include "framework/kernels/fake_quantize_gradient.h"
#include "framework/kernels/min_max.h"
#include "tests/unit/kernels/support.h"

namespace quell::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Ties of the grid, their neighbours, and what is no ordinary number.
std::vector<float> hard_values(float scale) {
  std::vector<float> x = {0.0f, -0.0f, kNan, kInfinity, -kInfinity, 1e-45f, 3.4e38f, -3.4e38f};
  for (int k = -80; k <= 80; ++k) {
    const float tie = (static_cast<float>(k) + 0.5f) * scale;
    x.insert(x.end(), {tie, std::nextafter(tie, kInfinity), std::nextafter(tie, -kInfinity)});
  }
  return x;
}

TEST(CudaElements, QuantizeAsTheCpuDoes) {
  for (const float scale : {0.1f, 1.0f / 3.0f, 1e-8f, 12345.678f}) {
    for (const float zero_point : {0.0f, 21.0f, 20.25f}) {
      const Levels levels{0, 63};
      const std::vector<float> x = hard_values(scale);
      std::vector<float> expected(x.size()), found(x.size());
      fake_quantize_tensor(x.data(), expected.data(), static_cast<int64_t>(x.size()), scale,
                           zero_point, levels);
      for (size_t i = 0; i < x.size(); ++i) {
        const float code = cuda::code_of(x[i], scale, zero_point, levels);
        found[i] = cuda::value_of(code, scale, zero_point);
      }
      EXPECT_EQ(first_difference(found, expected), -1) << scale << " " << zero_point;
    }
  }
}

TEST(CudaElements, NanGetsTheLowestCode) {
  const Levels levels{-8, 7};
  EXPECT_EQ(cuda::integer_code(cuda::code_of(kNan, 0.1f, 0, levels), levels), -8);
  EXPECT_EQ(cuda::integer_code(cuda::code_of(kInfinity, 0.1f, 0, levels), levels), 7);
  EXPECT_EQ(cuda::integer_code(cuda::code_of(-0.26f, 0.1f, 0, levels), levels), -3);
}

TEST(CudaElements, GradientsAsOnTheCpu) {
  for (const float x : hard_values(0.1f)) {
    for (const float dy : {1.0f, -0.37f}) {
      const float scale = 0.1f, zero_point = 21.0f;
      float dx = 0, dscale = 0, dzero_point = 0;
      fake_quantize_gradient(&x, &dy, &dx, 1, 1, 1, &scale, &zero_point, {0, 63}, &dscale,
                             &dzero_point);
      cuda::GradientSums sums;
      EXPECT_TRUE(same_bits(cuda::gradient_of(x, dy, scale, zero_point, {0, 63}, sums), dx)) << x;
      EXPECT_TRUE(same_bits(static_cast<float>(sums.scale), dscale)) << x;
      EXPECT_TRUE(same_bits(static_cast<float>(-sums.outside * scale), dzero_point)) << x;
    }
  }
}

TEST(CudaElements, RangesMergeAsOnTheCpu) {
  for (const std::vector<float>& x : std::vector<std::vector<float>>{
           {}, {-0.0f, -0.0f}, {1.0f, kNan, -2.0f}, {kNan, 1.0f}, {kInfinity, 3.0f}, {2.0f}}) {
    cuda::Bounds bounds;
    for (const float value : x) cuda::merge({value, value}, bounds);
    bounds = cuda::canonical(bounds);
    const MinMax expected = min_max_tensor(x.data(), static_cast<int64_t>(x.size()));
    EXPECT_TRUE(same_bits(bounds.min, expected.min) && same_bits(bounds.max, expected.max));
  }
}

TEST(CudaElements, Bins) {
  EXPECT_EQ(cuda::bin_of(0.0f, 0.0f, 1.0f, 4), 0);
  EXPECT_EQ(cuda::bin_of(0.25f, 0.0f, 1.0f, 4), 1);
  EXPECT_EQ(cuda::bin_of(std::nextafter(0.25f, 0.0f), 0.0f, 1.0f, 4), 0);
  EXPECT_EQ(cuda::bin_of(1.0f, 0.0f, 1.0f, 4), 3);  // the upper end belongs to the last bin
  EXPECT_EQ(cuda::bin_of(std::nextafter(1.0f, 2.0f), 0.0f, 1.0f, 4), -1);
  EXPECT_EQ(cuda::bin_of(-1e-45f, 0.0f, 1.0f, 4), -1);
  EXPECT_EQ(cuda::bin_of(kNan, 0.0f, 1.0f, 4), -1);
  EXPECT_EQ(cuda::bin_of(3e38f, 0.0f, 3.4e38f, 2048), 2047);  // the product overflows
}

// Parts of any size, merged in any order, against two passes in long double.
TEST(CudaElements, MomentsOfPartsAreThoseOfTheWhole) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(500.0f, 2.0f);
  for (const auto& [size, outlier] :
       std::vector<std::pair<int, int>>{{1, 7}, {2, 7}, {7, 7}, {1000, 7}, {1000, 0}, {60, 0}}) {
    std::vector<float> x;
    for (int i = 0; i < size; ++i)
      x.push_back(normal(random) * (i % 100 == outlier ? 30.0f : 1.0f));
    const double shift = x[0];
    cuda::PowerSums sums;
    for (size_t i = 0; i < x.size();) {
      cuda::PowerSums part;
      for (size_t end = i + 1 + random() % 40; i < end && i < x.size(); ++i) {
        cuda::add(x[i], shift, 510.0f, part);
      }
      if (random() % 2 == 0) std::swap(part, sums);
      cuda::merge(part, sums);
    }
    const cuda::Moments found = cuda::moments_of(sums, shift, size);
    long double mean = 0, m2 = 0, m3 = 0, m4 = 0, size3 = 0;
    int64_t beyond = 0;
    for (const float value : x) mean += static_cast<long double>(value) / size;
    for (const float value : x) {
      const long double d = value - mean;
      m2 += d * d;
      m3 += d * d * d;
      m4 += d * d * d * d;
      size3 += std::fabs(d * d * d);
      beyond += std::fabs(value) > 510.0f;
    }
    EXPECT_EQ(sums.beyond, beyond);
    // Doubles of 16 digits, of which a thousand additions and the first value, which may lie far
    // from the others, cost some.
    EXPECT_NEAR(found.mean, static_cast<double>(mean), 1e-13 * 500);
    EXPECT_NEAR(found.m2, static_cast<double>(m2), 1e-11 * static_cast<double>(m2));
    EXPECT_NEAR(found.m3, static_cast<double>(m3), 1e-11 * static_cast<double>(size3));
    EXPECT_NEAR(found.m4, static_cast<double>(m4), 1e-11 * static_cast<double>(m4));
  }
}

// Chunks cover everything once, in fours where values are taken by fours, and counters are enough.
TEST(CudaPartition, ChunksCoverTheValues) {
  for (const int64_t outer : {0, 1, 3, 4096}) {
    for (const int64_t channels : {1, 2, 12, 770, 3072, 40'000}) {
      for (const int64_t inner : {1, 7, 768, 100'003}) {
        const cuda::Partition cut = cuda::partition(outer, channels, inner, 64);
        const int64_t values = outer * inner;
        EXPECT_GE(cut.chunks * cut.chunk_size, values);
        EXPECT_TRUE(cut.chunks == 1 || (cut.chunks - 1) * cut.chunk_size < values);
        EXPECT_EQ(cut.chunk_size % 4, 0);
        EXPECT_LE(cut.chunks, 65535);  // the height of a CUDA grid
        EXPECT_TRUE(cut.chunks == 1 || cut.panels <= cuda::kCounters);
        const int64_t width = cut.by_fours ? 4 : 1;
        EXPECT_GE(cut.columns ? cut.panels * cuda::kWarp * width : cut.panels, channels);
        EXPECT_TRUE(cut.by_fours == false || channels == 1 ||
                    (cut.columns ? channels : inner) % 4 == 0);
      }
    }
  }
}

TEST(CudaPartition, WorkspacesAreSmall) {
  using cuda::Reduction;
  // The counters alone where every channel is one block's work.
  EXPECT_EQ(cuda::workspace_bytes(Reduction::kGradient, 1, 3072, 768), cuda::kCounterBytes);
  for (const Reduction kind : {Reduction::kRange, Reduction::kGradient, Reduction::kStatistics}) {
    const int64_t size = 4096 * 768;
    const int64_t tensor = cuda::workspace_bytes(kind, 1, 1, size);
    const int64_t columns = cuda::workspace_bytes(kind, 4096, 768, 1);
    EXPECT_GT(tensor, cuda::kCounterBytes);
    EXPECT_GT(columns, cuda::kCounterBytes);
    EXPECT_LT(tensor, 100'000);
    EXPECT_LT(columns, size * 4 / 3);  // a third of what is read
  }
}

}  // namespace
}  // namespace quell::kernels

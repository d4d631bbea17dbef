#include "framework/kernels/cuda.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "framework/kernels/dispatch.h"
#include "tests/unit/kernels/support.h"
#ifdef QUELL_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace quell::kernels {
namespace {

TEST(Dispatch, TheCpuReadsScaleAndZeroPointFromMemory) {
  const std::vector<float> x = {-1.0f, 0.26f, 9.0f}, scale = {0.5f}, zero_point = {1.0f};
  std::vector<float> y(3), channels(3);
  fake_quantize_tensor(Device{}, x.data(), y.data(), 3, scale.data(), zero_point.data(), {0, 3});
  EXPECT_EQ(y, (std::vector<float>{-0.5f, 0.5f, 1.0f}));
  fake_quantize_channels(Device{}, x.data(), channels.data(), 1, 1, 3, scale.data(),
                         zero_point.data(), {0, 3});
  EXPECT_EQ(channels, y);
}

TEST(Cuda, WithoutItTheErrorSaysWhatToDo) {
  if (cuda::available()) GTEST_SKIP() << "there is a GPU";
  const Device device{DeviceKind::kCuda};
  float x = 1.0f, one = 1.0f;
  EXPECT_THROW(fake_quantize_tensor(device, &x, &x, 1, &one, &one, {0, 3}), std::runtime_error);
  EXPECT_THROW(fake_quantize_channels(device, &x, &x, 1, 1, 1, &one, &one, {0, 3}),
               std::runtime_error);
  EXPECT_THROW(fake_quantize_rows_dynamic(device, &x, &x, 1, 1, affine_rule(Grid::kOs, 8, false),
                                          nullptr, nullptr),
               std::runtime_error);
  EXPECT_THROW(fake_quantize_gradient(device, &x, &x, &x, 1, 1, 1, &one, &one, {0, 3}, &x, &x),
               std::runtime_error);
  EXPECT_THROW(min_max_channels(device, &x, 1, 1, 1, &x, &x), std::runtime_error);
  EXPECT_THROW(min_max_tokens(device, &x, 1, 1, 1, nullptr, &x, &x), std::runtime_error);
  int64_t count = 0;
  EXPECT_THROW(add_to_histogram(device, &x, 1, &x, &one, 1, false, &count), std::runtime_error);
  EXPECT_THROW(quantize_codes_channels(device, &x, {&count, CodeType::kInt8}, 1, 1, 1, &one, &one,
                                       {0, 3}, nullptr),
               std::runtime_error);
  EXPECT_THROW(quantize_codes_rows_dynamic(device, &x, {&count, CodeType::kInt8}, 1, 1,
                                           affine_rule(Grid::kOs, 8, false), &x, &x, nullptr),
               std::runtime_error);
  EXPECT_THROW(cuda::statistics_channels(&x, 1, 1, 1, nullptr, {}, nullptr, nullptr),
               std::runtime_error);
}

TEST(Dispatch, TheCpuTakesTheSamePointers) {
  const std::vector<float> x = {-1.0f, 0.26f, 9.0f, 0.5f}, dy(4, 1.0f), scale = {0.5f}, zero = {1};
  std::vector<float> y(4), scales(2), zeros(2), low(2), high(2), dx(4), dscale(1), dzero(1);
  const AffineRule rule = affine_rule(Grid::kOs, 4, false);
  fake_quantize_rows_dynamic(Device{}, x.data(), y.data(), 2, 2, rule, scales.data(), zeros.data());
  EXPECT_EQ(scales[1], 9.0f / 15);
  EXPECT_EQ(y[2], 9.0f);
  min_max_channels(Device{}, x.data(), 1, 2, 2, low.data(), high.data());
  EXPECT_EQ(low, (std::vector<float>{-1.0f, 0.5f}));
  EXPECT_EQ(high, (std::vector<float>{0.26f, 9.0f}));
  fake_quantize_gradient(Device{}, x.data(), dy.data(), dx.data(), 1, 1, 4, scale.data(),
                         zero.data(), {0, 3}, dscale.data(), dzero.data());
  EXPECT_EQ(dx, (std::vector<float>{0, 1, 0, 1}));
  EXPECT_EQ(dzero[0], -1.0f);  // two outside, -0.5 each
  std::vector<uint8_t> codes(4), row_codes(4);
  quantize_codes_channels(Device{}, x.data(), {codes.data(), CodeType::kUint8}, 1, 1, 4,
                          scale.data(), zero.data(), {0, 3}, nullptr);
  EXPECT_EQ(codes, (std::vector<uint8_t>{0, 2, 3, 2}));
  quantize_codes_rows_dynamic(Device{}, x.data(), {row_codes.data(), CodeType::kUint8}, 2, 2, rule,
                              scales.data(), zeros.data(), y.data());
  EXPECT_EQ(row_codes, (std::vector<uint8_t>{0, 15, 15, 1}));
  min_max_tokens(Device{}, x.data(), 1, 2, 2, nullptr, low.data(), high.data());
  EXPECT_EQ(high, (std::vector<float>{0.26f, 9.0f}));
  const float from = 0, to = 10;
  std::vector<int64_t> counts(2), magnitudes(2);
  add_to_histogram(Device{}, x.data(), 4, &from, &to, 2, false, counts.data());
  add_to_histogram(Device{}, x.data(), 4, &from, &to, 2, true, magnitudes.data());
  EXPECT_EQ(counts, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(magnitudes, (std::vector<int64_t>{3, 1}));
}

#ifdef QUELL_HAS_CUDA
// A copy of a vector in GPU memory.
class OnDevice {
 public:
  explicit OnDevice(const std::vector<float>& values) : size_(values.size()) {
    EXPECT_EQ(cudaMalloc(&data_, size_ * sizeof(float)), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(data_, values.data(), size_ * sizeof(float), cudaMemcpyDefault),
              cudaSuccess);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { cudaFree(data_); }
  float* data() { return static_cast<float*>(data_); }
  std::vector<float> back() const {
    std::vector<float> values(size_);
    EXPECT_EQ(cudaMemcpy(values.data(), data_, size_ * sizeof(float), cudaMemcpyDefault),
              cudaSuccess);
    return values;
  }

 private:
  size_t size_;
  void* data_ = nullptr;
};

struct Shape {
  int64_t outer, channels, inner;
};

TEST(Cuda, TheSameBitsAsTheCpu) {
  if (!cuda::available()) GTEST_SKIP() << "no GPU here: the CUDA kernels are not tested";
  for (const Shape& shape : std::vector<Shape>{
           {1, 1, 70}, {7, 12, 1}, {7, 13, 1}, {1, 30, 64}, {3, 5, 7}, {1, 1, 3'000'001}}) {
    const int64_t size = shape.outer * shape.channels * shape.inner;
    std::vector<float> scale, zero_point, x;
    for (int64_t c = 0; c < shape.channels; ++c) {
      scale.push_back(0.1f + 0.037f * static_cast<float>(c));
      zero_point.push_back(static_cast<float>(c % 16));
    }
    for (int64_t i = 0; i < size; ++i) {
      // Ties and their neighbours, then a NaN and an infinity.
      const float tie =
          (static_cast<float>(i % 40) - 20.5f) * scale[i / shape.inner % shape.channels];
      x.push_back(i % 3 == 0 ? tie : std::nextafter(tie, i % 3 == 1 ? 99.0f : -99.0f));
    }
    x[size / 2] = NAN;
    x[size / 3] = INFINITY;
    for (const int64_t offset : {0, 1}) {  // 1: not aligned to 16 bytes.
      OnDevice from(x), to(x), scales(scale), zero_points(zero_point);
      std::vector<float> expected = x;
      fake_quantize_tensor(x.data() + offset, expected.data() + offset, size - offset, scale[0],
                           3.0f, {0, 15});
      OnDevice three({3.0f});
      fake_quantize_tensor(Device{DeviceKind::kCuda}, from.data() + offset, to.data() + offset,
                           size - offset, scales.data(), three.data(), {0, 15});
      EXPECT_EQ(first_difference(to.back(), expected), -1);
    }
    OnDevice from(x), scales(scale), zero_points(zero_point);
    std::vector<float> expected(x.size());
    fake_quantize_channels(x.data(), expected.data(), shape.outer, shape.channels, shape.inner,
                           scale.data(), zero_point.data(), {0, 15});
    fake_quantize_channels(Device{DeviceKind::kCuda}, from.data(), from.data(), shape.outer,
                           shape.channels, shape.inner, scales.data(), zero_points.data(), {0, 15});
    EXPECT_EQ(first_difference(from.back(), expected), -1);
  }
}

// The whole comparison, with all inputs and shapes, is tools/gpu/run.sh.
TEST(Cuda, ReductionsAsOnTheCpu) {
  if (!cuda::available()) GTEST_SKIP() << "no GPU here: the CUDA kernels are not tested";
  for (const Shape& shape : std::vector<Shape>{
           {1, 1, 100'003}, {300, 12, 1}, {300, 13, 1}, {1, 30, 64}, {3, 5, 7}, {4, 3, 9000}}) {
    const int64_t size = shape.outer * shape.channels * shape.inner;
    std::vector<float> x, dy, scale(shape.channels, 0.1f), zero_point(shape.channels, 7.0f);
    for (int64_t i = 0; i < size; ++i) {
      x.push_back((static_cast<float>(i * 7919 % 400) - 200.5f) * 0.1f);
      dy.push_back(static_cast<float>(i % 5) - 1.5f);
    }
    void* workspace = nullptr;
    const int64_t bytes = cuda::workspace_bytes(cuda::Reduction::kStatistics, shape.outer,
                                                shape.channels, shape.inner);
    ASSERT_EQ(cudaMalloc(&workspace, bytes), cudaSuccess);
    ASSERT_EQ(cudaMemset(workspace, 0, bytes), cudaSuccess);
    const Device gpu{.kind = DeviceKind::kCuda, .workspace = workspace};

    const std::vector<float> empty(shape.channels);
    std::vector<float> min = empty, max = empty, dscale = empty, dzero = empty, dx(x);
    OnDevice values(x), slopes(dy), scales(scale), zeros(zero_point), out_slopes(dy);
    OnDevice low(empty), high(empty), scale_slopes(empty), zero_slopes(empty);
    min_max_channels(Device{}, x.data(), shape.outer, shape.channels, shape.inner, min.data(),
                     max.data());
    min_max_channels(gpu, values.data(), shape.outer, shape.channels, shape.inner, low.data(),
                     high.data());
    EXPECT_EQ(low.back(), min);
    EXPECT_EQ(high.back(), max);
    fake_quantize_gradient(Device{}, x.data(), dy.data(), dx.data(), shape.outer, shape.channels,
                           shape.inner, scale.data(), zero_point.data(), {0, 15}, dscale.data(),
                           dzero.data());
    fake_quantize_gradient(gpu, values.data(), slopes.data(), out_slopes.data(), shape.outer,
                           shape.channels, shape.inner, scales.data(), zeros.data(), {0, 15},
                           scale_slopes.data(), zero_slopes.data());
    EXPECT_EQ(first_difference(out_slopes.back(), dx), -1);
    for (int64_t c = 0; c < shape.channels; ++c) {
      // The CPU adds runs of eight terms (each below 30) in float32, the GPU all in double.
      const double terms = static_cast<double>(shape.outer * shape.inner) * 30;
      EXPECT_NEAR(scale_slopes.back()[c], dscale[c], 1e-6 * terms);
      EXPECT_NEAR(zero_slopes.back()[c], dzero[c], 1e-6 * terms);
    }
    EXPECT_EQ(cudaFree(workspace), cudaSuccess);
  }
}

TEST(Cuda, DynamicRowsAsOnTheCpu) {
  if (!cuda::available()) GTEST_SKIP() << "no GPU here: the CUDA kernels are not tested";
  const AffineRule rule = affine_rule(Grid::kOs, 6, false);
  for (const int64_t features : {1, 16, 70, 128, 768, 3072, 9000}) {
    std::vector<float> x(5 * features), y(x.size()), scale(5), zero_point(5);
    for (size_t i = 0; i < x.size(); ++i) x[i] = (static_cast<float>(i % 400) - 150.5f) * 0.1f;
    x[3 * features] = NAN;
    OnDevice values(x), scales(scale), zero_points(zero_point);
    fake_quantize_rows_dynamic(Device{}, x.data(), y.data(), 5, features, rule, scale.data(),
                               zero_point.data());
    fake_quantize_rows_dynamic(Device{DeviceKind::kCuda}, values.data(), values.data(), 5, features,
                               rule, scales.data(), zero_points.data());
    EXPECT_EQ(first_difference(values.back(), y), -1);
    EXPECT_EQ(first_difference(scales.back(), scale), -1);
    EXPECT_EQ(first_difference(zero_points.back(), zero_point), -1);
  }
}
#endif

}  // namespace
}  // namespace quell::kernels

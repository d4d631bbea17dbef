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
#endif

}  // namespace
}  // namespace quell::kernels

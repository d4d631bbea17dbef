// Gradients, ranges, histograms and statistics.
#include <algorithm>

#include "framework/kernels/cuda.h"
#include "tools/gpu/self_check/check.h"
#include "tools/gpu/self_check/on_device.h"
#include "tools/gpu/self_check/reference.h"

namespace quell::gpu {
namespace {

namespace cuda = kernels::cuda;

// Shapes for every path: whole tensors, columns, rows, stretches; one chunk and several.
std::vector<Shape> shapes(bool small) {
  std::vector<Shape> all = {{1, 1, 1},  {1, 1, 4099}, {7, 12, 1},  {70, 13, 1}, {1, 30, 64},
                            {1, 5, 70}, {3, 5, 7},    {2, 3, 400}, {300, 8, 1}, {0, 3, 4}};
  if (!small) {
    all.insert(all.end(), {{1, 1, 1'000'003},
                           {4096, 768, 1},
                           {3000, 33, 1},
                           {1, 1500, 257},
                           {4, 3, 20'000},
                           {2, 2, 30'001},
                           {1, 3, 40'000}});
  }
  return all;
}

std::vector<int64_t> elements_of(const Shape& shape, int64_t channel) {
  std::vector<int64_t> elements;
  for (int64_t o = 0; o < shape.outer; ++o) {
    for (int64_t i = 0; i < shape.inner; ++i) {
      elements.push_back((o * shape.channels + channel) * shape.inner + i);
    }
  }
  return elements;
}

// One workspace for everything, as a program would have it.
class Workspace {
 public:
  void* get(cuda::Reduction reduction, const Shape& shape) {
    const int64_t bytes =
        cuda::workspace_bytes(reduction, shape.outer, shape.channels, shape.inner);
    if (bytes > bytes_) {
      cudaFree(memory_);
      require(cudaMalloc(&memory_, bytes));
      require(cudaMemset(memory_, 0, bytes));
      bytes_ = bytes;
    }
    return memory_;
  }
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { cudaFree(memory_); }

 private:
  void* memory_ = nullptr;
  int64_t bytes_ = 0;
};

struct GradientResult {
  std::vector<float> dx, dscale, dzero_point;
};

struct GradientCase {
  Shape shape;
  kernels::Levels levels;
  std::vector<float> x, dy, scale, zero_point;

  GradientResult run(int64_t offset, void* workspace) const {
    const OnDevice<float> values(x, offset), slopes(dy, offset), scales(scale), zeros(zero_point);
    const OnDevice<float> dscale(shape.channels), dzero(shape.channels);
    cuda::fake_quantize_gradient(values.data(), slopes.data(), slopes.data(), shape.outer,
                                 shape.channels, shape.inner, scales.data(), zeros.data(), levels,
                                 dscale.data(), dzero.data(), workspace, nullptr);
    return {slopes.back(), dscale.back(), dzero.back()};
  }
};

void check_gradient_of(const GradientCase& of, const GradientResult& found, Check& check) {
  const std::string text = of.shape.text();
  std::vector<float> dx(of.x.size());
  for (int64_t c = 0; c < of.shape.channels; ++c) {
    double scale = 0, zero_point = 0, scale_size = 0, zero_size = 0;
    for (const int64_t i : elements_of(of.shape, c)) {
      const auto terms =
          reference::gradients(of.x[i], of.dy[i], of.scale[c], of.zero_point[c], of.levels);
      dx[i] = terms.x;
      scale += terms.scale;
      zero_point += terms.zero_point;
      scale_size += std::fabs(terms.scale);
      zero_size += std::fabs(terms.zero_point);
    }
    // One rounding to float32 at the end; the terms of the zero point are rounded in the reference
    // alone. The order of a sum of n doubles costs about n * 1e-16 of the terms' sizes.
    const auto close = [](double a, double b, double size) {
      return std::isnan(a) ? std::isnan(b) : std::fabs(a - b) <= 1.2e-7 * std::fabs(b) + size;
    };
    check.expect(close(found.dscale[c], scale, 1e-9 * scale_size), text + ", dscale");
    check.expect(close(found.dzero_point[c], zero_point, 6e-8 * zero_size), text + ", dzero_point");
  }
  check.expect_equal(found.dx, dx, text + ", dx");
}

Check check_gradient(bool small) {
  Check check{"fake_quantize_gradient"};
  std::mt19937 random(4);
  Workspace workspace;
  std::normal_distribution<float> normal;
  for (const Shape& shape : shapes(small)) {
    for (const bool special : {false, true}) {
      GradientCase made{shape, {0, 63}, hard_inputs(shape.size(), 0.1f, special, random),
                        {},    {},      {}};
      for (int64_t i = 0; i < shape.size(); ++i) made.dy.push_back(normal(random));
      for (int64_t c = 0; c < shape.channels; ++c) {
        made.scale.push_back(0.1f + 0.0137f * static_cast<float>(c % 50));
        made.zero_point.push_back(static_cast<float>(c % 31) + (special ? 0.0f : 0.25f));
      }
      void* memory = workspace.get(cuda::Reduction::kGradient, shape);
      const GradientResult found = made.run(0, memory);
      check_gradient_of(made, found, check);
      const GradientResult again = made.run(0, memory), unaligned = made.run(1, memory);
      for (const GradientResult& other : {again, unaligned}) {
        check.expect_equal(other.dx, found.dx, shape.text() + ", dx again");
        check.expect_equal(other.dscale, found.dscale, shape.text() + ", dscale again");
        check.expect_equal(other.dzero_point, found.dzero_point, shape.text() + ", dzero again");
      }
    }
  }
  return check;
}

Check check_ranges(bool small) {
  Check check{"min_max_channels"};
  std::mt19937 random(5);
  Workspace workspace;
  for (const Shape& shape : shapes(small)) {
    for (const int64_t offset : {0, 1}) {
      // -0 as the only bound, then ordinary values, then anything.
      for (const int kind : {0, 1, 2}) {
        std::vector<float> x = hard_inputs(shape.size(), 0.1f, kind == 2, random);
        if (kind == 0) std::fill(x.begin(), x.end(), -0.0f);
        std::vector<float> low, high;
        for (int64_t c = 0; c < shape.channels; ++c) {
          reference::Range range;
          for (const int64_t i : elements_of(shape, c)) range.include(x[i]);
          low.push_back(range.low());
          high.push_back(range.high());
        }
        const OnDevice<float> values(x, offset), min(shape.channels), max(shape.channels);
        cuda::min_max_channels(values.data(), shape.outer, shape.channels, shape.inner, min.data(),
                               max.data(), workspace.get(cuda::Reduction::kRange, shape), nullptr);
        check.expect_equal(min.back(), low, shape.text() + ", min");
        check.expect_equal(max.back(), high, shape.text() + ", max");
      }
    }
  }
  return check;
}

Check check_tokens() {
  Check check{"min_max_tokens"};
  std::mt19937 random(6);
  for (const int64_t features : {1, 7, 64, 384, 770}) {
    for (const int64_t sequences : {1, 3, 40}) {
      for (const int64_t offset : {0, 1}) {
        const int64_t length = 16;
        const std::vector<float> x =
            hard_inputs(sequences * length * features, 0.1f, sequences == 3, random);
        std::vector<int64_t> lengths;
        std::vector<float> low, high;
        for (int64_t s = 0; s < sequences; ++s) {
          lengths.push_back(s == 1 ? 0 : static_cast<int64_t>(random() % (length + 1)));
          for (int64_t t = 0; t < lengths.back(); ++t) {
            const auto range =
                reference::range_of(x.data() + (s * length + t) * features, features);
            low.push_back(range.low());
            high.push_back(range.high());
          }
        }
        const auto tokens = static_cast<int64_t>(low.size());
        const OnDevice<float> values(x, offset), min(tokens), max(tokens);
        const OnDevice<int64_t> valid(lengths);
        cuda::min_max_tokens(values.data(), sequences, length, features, valid.data(), min.data(),
                             max.data(), nullptr);
        const std::string text = Shape{sequences, length, features}.text();
        check.expect_equal(min.back(), low, text + ", min");
        check.expect_equal(max.back(), high, text + ", max");
      }
    }
  }
  return check;
}

Check check_histogram(bool small) {
  Check check{"add_to_histogram"};
  std::mt19937 random(7);
  for (const int64_t bins : {1, 3, 100, 2048, 12288, 20'000}) {
    for (const int64_t size : {1, 70, small ? 3000 : 300'001}) {
      for (const bool magnitudes : {false, true}) {
        const std::vector<float> x = hard_inputs(size, 0.1f, true, random);
        const float low = magnitudes ? 0.0f : -7.3f, high = 6.45f;  // 6.45 is a tie, 64.5 * 0.1
        std::vector<int64_t> expected(bins, 5);
        for (const float value : x) {
          const float v = magnitudes ? std::fabs(value) : value;
          if (!(v >= low && v <= high)) continue;
          const auto bin =
              static_cast<int64_t>((v - low) * static_cast<float>(bins) / (high - low));
          ++expected[std::min(bin, bins - 1)];
        }
        for (const int64_t offset : {0, 1}) {
          const OnDevice<float> values(x, offset), from(std::vector<float>{low}),
              to(std::vector<float>{high});
          const OnDevice<int64_t> counts(std::vector<int64_t>(bins, 5));
          cuda::add_to_histogram(values.data(), size, from.data(), to.data(), bins, magnitudes,
                                 counts.data(), nullptr);
          check.expect_equal(counts.back(), expected, std::to_string(bins) + " bins");
        }
      }
    }
  }
  return check;
}

struct StatisticsResult {
  std::vector<double> mean, m2, m3, m4;
  std::vector<float> min, max;
  std::vector<int64_t> beyond;
};

StatisticsResult statistics(const Shape& shape, const std::vector<float>& x, float threshold,
                            int64_t offset, void* workspace) {
  const OnDevice<float> values(x, offset), limit(std::vector<float>{threshold});
  const OnDevice<double> mean(shape.channels), m2(shape.channels), m3(shape.channels),
      m4(shape.channels);
  const OnDevice<float> min(shape.channels), max(shape.channels);
  const OnDevice<int64_t> beyond(shape.channels);
  cuda::statistics_channels(
      values.data(), shape.outer, shape.channels, shape.inner, limit.data(),
      {mean.data(), m2.data(), m3.data(), m4.data(), min.data(), max.data(), beyond.data()},
      workspace, nullptr);
  return {mean.back(), m2.back(), m3.back(), m4.back(), min.back(), max.back(), beyond.back()};
}

void check_statistics_of(const Shape& shape, const std::vector<float>& x, float threshold,
                         const StatisticsResult& found, Check& check) {
  const std::string text = shape.text();
  for (int64_t c = 0; c < shape.channels; ++c) {
    std::vector<float> values;
    int64_t beyond = 0;
    for (const int64_t i : elements_of(shape, c)) {
      values.push_back(x[i]);
      beyond += std::fabs(x[i]) > threshold;
    }
    const reference::Range range = reference::range_of(values.data(), values.size());
    check.expect(found.beyond[c] == beyond, text + ", beyond");
    check.expect_equal<float>({found.min[c], found.max[c]}, {range.low(), range.high()},
                              text + ", range");
    if (values.empty()) continue;
    const reference::Moments expected = reference::moments(values);
    if (!std::isfinite(expected.mean)) {
      check.expect(!std::isfinite(found.m2[c]), text + ", not finite");
      continue;
    }
    // Doubles; the mean of these inputs is at most some thousand times their width, which costs
    // three of sixteen digits, and merging some more.
    const auto close = [](double a, long double b, long double size) {
      return std::fabs(a - b) <= 1e-10L * size;
    };
    check.expect(close(found.mean[c], expected.mean, expected.size1), text + ", mean");
    check.expect(close(found.m2[c], expected.m2, expected.size2), text + ", m2");
    check.expect(close(found.m3[c], expected.m3, expected.size3), text + ", m3");
    check.expect(close(found.m4[c], expected.m4, expected.size4), text + ", m4");
  }
}

Check check_statistics(bool small) {
  Check check{"statistics_channels"};
  std::mt19937 random(8);
  Workspace workspace;
  for (const Shape& shape : shapes(small)) {
    for (const int kind : {0, 1, 2}) {
      std::vector<float> x = hard_inputs(shape.size(), 0.1f, kind == 1, random);
      if (kind == 2) {
        for (float& value : x) value += 1000.0f;  // far from zero
      }
      void* memory = workspace.get(cuda::Reduction::kStatistics, shape);
      const StatisticsResult found = statistics(shape, x, 6.0f, 0, memory);
      check_statistics_of(shape, x, 6.0f, found, check);
      for (const int64_t offset : {0, 1}) {
        const StatisticsResult again = statistics(shape, x, 6.0f, offset, memory);
        check.expect_equal(again.mean, found.mean, shape.text() + ", mean again");
        check.expect_equal(again.m3, found.m3, shape.text() + ", m3 again");
        check.expect_equal(again.m4, found.m4, shape.text() + ", m4 again");
      }
    }
  }
  return check;
}

}  // namespace

std::vector<Check> check_reductions(bool small) {
  return {check_gradient(small), check_ranges(small), check_tokens(), check_histogram(small),
          check_statistics(small)};
}

}  // namespace quell::gpu

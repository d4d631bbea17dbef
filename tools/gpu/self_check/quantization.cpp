// Fake quantization, static and dynamic, with codes.
#include "framework/kernels/cuda.h"
#include "tools/gpu/self_check/check.h"
#include "tools/gpu/self_check/on_device.h"
#include "tools/gpu/self_check/reference.h"

namespace quell::gpu {
namespace {

using kernels::Levels;
namespace cuda = kernels::cuda;

template <class T>
constexpr quell::kernels::CodeType kType =
    sizeof(T) == 1
        ? (std::is_signed_v<T> ? quell::kernels::CodeType::kInt8 : quell::kernels::CodeType::kUint8)
        : (std::is_signed_v<T> ? quell::kernels::CodeType::kInt16
                               : quell::kernels::CodeType::kUint16);

// Calls f with a value of the smallest type that holds the levels.
template <class Function>
void with_type(Levels levels, const Function& f) {
  if (levels.low < 0) {
    levels.high <= 127 ? f(int8_t()) : f(int16_t());
  } else {
    levels.high <= 255 ? f(uint8_t()) : f(uint16_t());
  }
}

struct Case {
  Shape shape;
  Levels levels;
  std::vector<float> x, scale, zero_point;
  int64_t offset;
  std::string text;

  int64_t channel(int64_t i) const { return i / shape.inner % shape.channels; }
};

// `launch(x, y, scale, zero_point, codes)`: values alone in place, with codes, codes alone.
template <class Launch>
void run(const Case& of, Check& check, const Launch& launch) {
  std::vector<float> expected(of.x.size());
  for (size_t i = 0; i < of.x.size(); ++i) {
    const int64_t c = of.channel(static_cast<int64_t>(i));
    expected[i] = reference::fake_quantize(of.x[i], of.scale[c], of.zero_point[c], of.levels);
  }
  const OnDevice<float> scale(of.scale), zero_point(of.zero_point);
  const OnDevice<float> in_place(of.x, of.offset);
  launch(in_place.data(), in_place.data(), scale.data(), zero_point.data(),
         quell::kernels::Codes{});
  check.expect_equal(in_place.back(), expected, of.text + ", in place");
  with_type(of.levels, [&](auto type) {
    using Code = decltype(type);
    std::vector<Code> codes(of.x.size());
    for (size_t i = 0; i < of.x.size(); ++i) {
      const int64_t c = of.channel(static_cast<int64_t>(i));
      codes[i] =
          static_cast<Code>(reference::integer(of.x[i], of.scale[c], of.zero_point[c], of.levels));
    }
    const auto size = static_cast<int64_t>(of.x.size());
    const OnDevice<float> x(of.x, of.offset), y(size, of.offset);
    const OnDevice<Code> both(size, of.offset), alone(size, of.offset);
    launch(x.data(), y.data(), scale.data(), zero_point.data(), {both.data(), kType<Code>});
    launch(x.data(), nullptr, scale.data(), zero_point.data(), {alone.data(), kType<Code>});
    check.expect_equal(y.back(), expected, of.text + ", values beside codes");
    check.expect_equal(both.back(), codes, of.text + ", codes");
    check.expect_equal(alone.back(), codes, of.text + ", codes alone");
  });
}

Check check_tensor(bool small) {
  Check check{"fake_quantize_tensor"};
  std::mt19937 random(1);
  const std::vector<int64_t> sizes =
      small ? std::vector<int64_t>{1, 70, 5000} : std::vector<int64_t>{1, 3, 4, 70, 4096, 300'003};
  for (const Affine& grid : affine_grids()) {
    for (const float scale : {0.1f, 1.0f / 3.0f, 1e-8f, 1.17549e-38f, 12345.678f}) {
      for (const int64_t size : sizes) {
        for (const int64_t offset : {0, 1}) {
          const Shape shape{1, 1, size};
          const Case made{shape,
                          grid.levels,
                          hard_inputs(size, scale, true, random),
                          {scale},
                          {grid.zero_point},
                          offset,
                          shape.text() + ", scale " + std::to_string(scale)};
          run(made, check,
              [&](const float* x, float* y, const float* s, const float* z,
                  quell::kernels::Codes codes) {
                cuda::fake_quantize_tensor(x, y, size, s, z, grid.levels, nullptr, codes);
              });
        }
      }
    }
  }
  return check;
}

Check check_channels(bool small) {
  Check check{"fake_quantize_channels"};
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(0.01f, 2.0f);
  std::vector<Shape> shapes = {{7, 12, 1}, {7, 13, 1}, {1, 30, 64}, {3, 5, 7}, {2, 3, 8}};
  if (!small) shapes.insert(shapes.end(), {{500, 768, 1}, {1, 768, 384}, {4, 12, 16384}});
  for (const Affine& grid : affine_grids()) {
    for (const Shape& shape : shapes) {
      for (const int64_t offset : {0, 1}) {
        Case made{shape,  grid.levels, hard_inputs(shape.size(), 0.1f, true, random), {}, {},
                  offset, shape.text()};
        for (int64_t c = 0; c < shape.channels; ++c) {
          made.scale.push_back(uniform(random));
          made.zero_point.push_back(grid.zero_point == 0 ? 0.0f : static_cast<float>(random() % 4));
        }
        run(made, check,
            [&](const float* x, float* y, const float* s, const float* z,
                quell::kernels::Codes codes) {
              cuda::fake_quantize_channels(x, y, shape.outer, shape.channels, shape.inner, s, z,
                                           grid.levels, nullptr, codes);
            });
      }
    }
  }
  return check;
}

// One shape and rule; some rows are ordinary, in the others there is anything.
void check_rows(int64_t rows, int64_t features, const kernels::AffineRule& rule, int64_t offset,
                std::mt19937& random, Check& check) {
  std::vector<float> x;
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<float> part = hard_inputs(features, 0.1f, row % 3 == 2, random);
    x.insert(x.end(), part.begin(), part.end());
  }
  std::vector<float> expected(x.size()), scales, zero_points;
  for (int64_t row = 0; row < rows; ++row) {
    const reference::Range range = reference::range_of(x.data() + row * features, features);
    const auto found = kernels::scale_zero_point(rule, range.low(), range.high());
    scales.push_back(found.scale);
    zero_points.push_back(found.zero_point);
    for (int64_t i = row * features; i < (row + 1) * features; ++i) {
      expected[i] = reference::fake_quantize(x[i], found.scale, found.zero_point, rule.levels);
    }
  }
  const OnDevice<float> values(x, offset), scale(rows), zero_point(rows);
  const OnDevice<int16_t> codes(rows * features, offset);
  cuda::fake_quantize_rows_dynamic(values.data(), nullptr, rows, features, rule, nullptr, nullptr,
                                   nullptr, {codes.data(), quell::kernels::CodeType::kInt16});
  cuda::fake_quantize_rows_dynamic(values.data(), values.data(), rows, features, rule, scale.data(),
                                   zero_point.data(), nullptr);
  const std::string text = std::to_string(rows) + " rows of " + std::to_string(features);
  check.expect_equal(values.back(), expected, text);
  check.expect_equal(scale.back(), scales, text + ", scales");
  check.expect_equal(zero_point.back(), zero_points, text + ", zero points");
  const std::vector<int16_t> found = codes.back();
  std::vector<int16_t> integers = found;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t row = i / features;
    // A row with a NaN or an infinity has no zero point, hence no codes.
    if (!std::isfinite(scales[row]) || !std::isfinite(zero_points[row])) continue;
    integers[i] =
        static_cast<int16_t>(reference::integer(x[i], scales[row], zero_points[row], rule.levels));
  }
  check.expect_equal(found, integers, text + ", codes");
}

Check check_rows_dynamic(bool small) {
  Check check{"fake_quantize_rows_dynamic"};
  std::mt19937 random(3);
  std::vector<int64_t> widths = {1, 3, 16, 33, 64, 130, 384, 770};
  if (!small)
    widths.insert(widths.end(), {32, 128, 512, 1024, 1028, 3072, 4099, 8192, 8193, 20000});
  for (const int64_t features : widths) {
    for (const int64_t rows : {1, 5, 35}) {
      for (const kernels::Grid grid :
           {kernels::Grid::kOs, kernels::Grid::kOsPlus, kernels::Grid::kQualcomm}) {
        for (const bool symmetric : {false, true}) {
          const auto rule = kernels::affine_rule(grid, rows == 5 ? 4 : 8, symmetric);
          for (const int64_t offset : {0, 1}) {
            check_rows(rows, features, rule, offset, random, check);
          }
        }
      }
    }
  }
  return check;
}

}  // namespace

std::vector<Check> check_quantization(bool small) {
  return {check_tensor(small), check_channels(small), check_rows_dynamic(small)};
}

}  // namespace quell::gpu

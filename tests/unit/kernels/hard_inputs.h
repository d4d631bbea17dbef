// Inputs on which wrong quantizers show.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace quell::kernels {

// Where a shortcut (a reciprocal, a fused step, rounding after adding) shows: exact ties and their
// neighbours. Then everything that is not an ordinary number, then random values.
inline std::vector<float> hard_inputs(float scale, std::mt19937& random) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x = {0.0f,   -0.0f,      kNan,        -kNan,       kInfinity, -kInfinity,
                          1e-45f, -1e-45f,    1e-39f,      1e38f,       -1e38f,    3.4e38f,
                          1e-30f, 8388609.0f, -8388607.5f, 16777216.0f, 0.5f,      -0.5f};
  for (int k = -300; k <= 300; ++k) {
    const float tie = (static_cast<float>(k) + 0.5f) * scale;
    const float up = std::nextafter(tie, kInfinity);
    x.insert(x.end(), {tie, up, std::nextafter(up, kInfinity), std::nextafter(tie, -kInfinity),
                       static_cast<float>(k) * scale});
  }
  std::normal_distribution<float> normal(0.0f, 40 * scale);
  for (int i = 0; i < 2000; ++i) x.push_back(normal(random));
  return x;
}

inline const std::vector<float> kAwkwardScales = {
    1.0f, 0.1f, 1.0f / 3.0f, 0.0317460336f, 1e-8f, 0.7071f, 1.17549e-38f, 12345.678f, 1e30f};

struct Shape {
  int64_t outer, channels, inner;
};
inline const std::vector<Shape> kShapes = {{1, 1, 5},     {1, 7, 33},    {9, 5, 1},    {3, 67, 1},
                                           {2, 3, 4},     {4, 1, 1},     {5, 16, 16},  {0, 3, 2},
                                           {130, 770, 1}, {1, 300, 257}, {3, 2, 40001}};

// Ties of a 6-bit grid per channel.
struct ChannelCase {
  std::vector<float> scale, zero_point;       // [channels]
  std::vector<float> x, scales, zero_points;  // [outer, channels, inner]
};

inline ChannelCase channel_case(const Shape& shape, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(0.01f, 2.0f);
  ChannelCase made;
  for (int64_t c = 0; c < shape.channels; ++c) {
    made.scale.push_back(uniform(random));
    made.zero_point.push_back(static_cast<float>(random() % 64));
  }
  for (int64_t i = 0; i < shape.outer * shape.channels * shape.inner; ++i) {
    const int64_t channel = i / shape.inner % shape.channels;
    made.scales.push_back(made.scale[channel]);
    made.zero_points.push_back(made.zero_point[channel]);
    made.x.push_back((static_cast<float>(random() % 128) - 64.5f) * made.scale[channel]);
  }
  return made;
}

}  // namespace quell::kernels

// What the checks share: their verdict, comparison of bits, and inputs on which wrong kernels show.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "framework/kernels/grid.h"

namespace quell::gpu {

// The verdict on one operation; keeps the first thing that went wrong.
struct Check {
  explicit Check(std::string operation) : name(std::move(operation)) {}

  std::string name;
  int64_t comparisons = 0;
  int64_t failures = 0;
  std::string first_failure;

  void expect(bool good, const std::string& what) {
    ++comparisons;
    if (good) return;
    if (failures++ == 0) first_failure = what;
  }

  // The same bits, where NaN equals NaN.
  template <class T>
  void expect_equal(const std::vector<T>& found, const std::vector<T>& expected,
                    const std::string& what) {
    for (size_t i = 0; i < expected.size(); ++i) {
      if (same_bits(found[i], expected[i])) continue;
      expect(false, what + ": element " + std::to_string(i) + " is " + std::to_string(found[i]) +
                        ", expected " + std::to_string(expected[i]));
      return;
    }
    expect(true, what);
  }

 private:
  template <class T>
  static bool same_bits(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(a) && std::isnan(b)) return true;
    }
    return std::memcmp(&a, &b, sizeof(T)) == 0;
  }
};

struct Shape {
  int64_t outer, channels, inner;
  int64_t size() const { return outer * channels * inner; }
  std::string text() const {
    return "[" + std::to_string(outer) + ", " + std::to_string(channels) + ", " +
           std::to_string(inner) + "]";
  }
};

// `size` values: ties of a grid and their neighbours, everything that is no ordinary number
// (`special`), and random values with a few large ones.
inline std::vector<float> hard_inputs(int64_t size, float scale, bool special,
                                      std::mt19937& random) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  static const std::vector<float> kSpecial = {0.0f,       -0.0f,    NAN,        kInfinity,
                                              -kInfinity, 1e-45f,   -1e-45f,    1e-39f,
                                              3.4e38f,    -3.4e38f, 8388609.0f, 0.5f};
  std::normal_distribution<float> normal(0.0f, 20 * scale);
  std::vector<float> x(static_cast<size_t>(size));
  for (float& value : x) {
    const float tie = (static_cast<float>(random() % 128) - 64.5f) * scale;
    switch (random() % 8) {
      case 0:
        value = tie;
        break;
      case 1:
        value = std::nextafter(tie, kInfinity);
        break;
      case 2:
        value = std::nextafter(tie, -kInfinity);
        break;
      case 3:
        value = normal(random) * (random() % 50 == 0 ? 100.0f : 1.0f);
        break;
      default:
        value = normal(random);
    }
    if (special && random() % 16 == 0) value = kSpecial[random() % kSpecial.size()];
  }
  return x;
}

// Grids of 2 to 8 and 16 bits with an odd zero point each, and the symmetric ones.
struct Affine {
  kernels::Levels levels;
  float zero_point;
};
inline std::vector<Affine> affine_grids() {
  std::vector<Affine> grids;
  for (const int bits : {2, 3, 4, 5, 6, 7, 8, 16}) {
    const auto steps = static_cast<float>((1 << bits) - 1);
    const auto half = static_cast<float>(1 << (bits - 1));
    grids.push_back({{0, steps}, static_cast<float>((1 << bits) / 3 | 1)});
    grids.push_back({{-half, half - 1}, 0});
  }
  return grids;
}

// The checks. `small`: fewer and smaller cases, for slow tools.
std::vector<Check> check_quantization(bool small);
std::vector<Check> check_reductions(bool small);
Check check_no_synchronization();

}  // namespace quell::gpu

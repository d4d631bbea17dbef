#include "framework/kernels/squared_distance.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/squared_distance_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

// What follows is compiled once per instruction set, in a namespace of its own.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Eight sums, whatever the width of vectors: column c is added to sum c mod 8.
constexpr int64_t kSums = 8;
using DoubleTag = hn::CappedTag<double, kSums>;
using HalfTag = hn::Rebind<float, DoubleTag>;

double distance_of_row(const float* a, const float* b, int64_t columns) {
  const DoubleTag tag;
  const HalfTag half;
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(DoubleTag()));
  constexpr int64_t kVectors = kSums / kLanes;
  hn::Vec<DoubleTag> sums[kVectors];
  for (auto& sum : sums) sum = hn::Zero(tag);
  int64_t c = 0;
  for (; c + kSums <= columns; c += kSums) {
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t at = c + v * kLanes;
      const auto difference =
          hn::PromoteTo(tag, hn::Sub(hn::LoadU(half, a + at), hn::LoadU(half, b + at)));
      sums[v] = hn::Add(sums[v], hn::Mul(difference, difference));
    }
  }
  HWY_ALIGN double all[kSums];
  for (int64_t v = 0; v < kVectors; ++v) hn::Store(sums[v], tag, all + v * kLanes);
  for (; c < columns; ++c) {
    const auto difference = static_cast<double>(a[c] - b[c]);
    all[c % kSums] += difference * difference;
  }
  for (int64_t count = kSums / 2; count > 0; count /= 2) {
    for (int64_t i = 0; i < count; ++i) all[i] += all[i + count];
  }
  return all[0];
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(distance_of_row);

}  // namespace

double squared_distance(Block a, Block b, int64_t rows, int64_t columns) {
  double sum = 0;
  for (int64_t row = 0; row < rows; ++row) {
    sum += HWY_DYNAMIC_DISPATCH(distance_of_row)(a.values + row * a.stride,
                                                 b.values + row * b.stride, columns);
  }
  return sum;
}

void add_squared_distances(Block a, Block b, int64_t rows, int64_t columns, double* by_row,
                           double* by_column) {
  for (int64_t row = 0; row < rows; ++row) {
    const float *x = a.values + row * a.stride, *y = b.values + row * b.stride;
    for (int64_t column = 0; column < columns; ++column) {
      const auto difference = static_cast<double>(x[column] - y[column]);
      by_row[row] += difference * difference;
      by_column[column] += difference * difference;
    }
  }
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

#include "framework/kernels/binned_values.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/binned_values.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "framework/kernels/fake_quantize-inl.h"
#include "framework/kernels/quotient-inl.h"

#ifndef QUELL_BINNED_VALUES_PARTS
#define QUELL_BINNED_VALUES_PARTS
namespace quell::kernels {

// A place within the range is an integer of 24 bits: 16 of the bin, and 8 that say where in it.
constexpr int64_t kBins = 65536;
constexpr int64_t kPlacesOfBin = 256;

// A bin counts its values and adds up their places in it, both in one number.
constexpr int kCountShift = 36;
constexpr int64_t kMostValues = int64_t{1} << (64 - kCountShift);

// Errors are summed in this many lanes on every instruction set.
constexpr int64_t kErrorLanes = 16;

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own. No step in double
// precision may be fused (MulAdd), or the last bits would differ between machines.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DoubleTag = hn::CappedTag<double, kErrorLanes / 2>;
using FloatTag = hn::Rebind<float, DoubleTag>;
using IntTag = hn::Rebind<int32_t, DoubleTag>;
using Double = hn::Vec<DoubleTag>;
using Float = hn::Vec<FloatTag>;

// table[bin] += a value and its place in the bin.
void count_places(const float* x, int64_t size, double origin, double places_per_unit,
                  uint64_t* table) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(DoubleTag()));
  constexpr int64_t kBuffer = 1024;
  HWY_ALIGN int32_t places[kBuffer];
  HWY_ALIGN float last[hn::MaxLanes(DoubleTag())];
  const Double zero = hn::Set(DoubleTag(), origin), scale = hn::Set(DoubleTag(), places_per_unit);
  const auto place_of = [&](const float* from) {
    const Double value = hn::PromoteTo(DoubleTag(), hn::LoadU(FloatTag(), from));
    return hn::DemoteTo(IntTag(), hn::Mul(hn::Sub(value, zero), scale));
  };
  for (int64_t first = 0; first < size; first += kBuffer) {
    const int64_t count = std::min(kBuffer, size - first);
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      hn::Store(place_of(x + first + i), IntTag(), places + i);
    }
    if (i < count) {
      std::fill(std::copy(x + first + i, x + first + count, last), last + lanes, x[first]);
      hn::Store(place_of(last), IntTag(), places + i);
    }
    for (i = 0; i < count; ++i) {
      const auto place = static_cast<uint32_t>(places[i]);
      table[place / kPlacesOfBin] += (uint64_t{1} << kCountShift) + place % kPlacesOfBin;
    }
  }
}

template <class Quotient>
double sum_of_squares(const float* x, int64_t size, const Quotient& quotient, ScaleZeroPoint grid,
                      Levels levels) {
  constexpr auto kWidth = static_cast<int64_t>(hn::MaxLanes(DoubleTag()));
  const FloatTag tag;
  const Float scale = hn::Set(tag, grid.scale), zero_point = hn::Set(tag, grid.zero_point);
  const Float low = hn::Set(tag, levels.low), high = hn::Set(tag, levels.high);
  const auto square = [&](Float value) {
    const Float y = value_of(code_of(quotient(value), zero_point, low, high), scale, zero_point);
    const Double error = hn::Sub(hn::PromoteTo(DoubleTag(), value), hn::PromoteTo(DoubleTag(), y));
    return hn::Mul(error, error);
  };
  HWY_ALIGN double sums[kErrorLanes] = {};
  const int64_t whole = size / kErrorLanes * kErrorLanes;
  for (int64_t lane = 0; lane < kErrorLanes; lane += 2 * kWidth) {
    Double left = hn::Zero(DoubleTag()), right = left;
    for (int64_t i = lane; i < whole; i += kErrorLanes) {
      left = hn::Add(left, square(hn::LoadU(tag, x + i)));
      right = hn::Add(right, square(hn::LoadU(tag, x + i + kWidth)));
    }
    hn::Store(left, DoubleTag(), sums + lane);
    hn::Store(right, DoubleTag(), sums + lane + kWidth);
  }
  for (int64_t i = whole; i < size; ++i) {
    sums[i - whole] += hn::GetLane(square(hn::Set(tag, x[i])));
  }
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

double sum_of_squared_errors(const float* x, int64_t size, ScaleZeroPoint grid, Levels levels) {
  return with_quotient<Float>(grid.scale, size, [&](const auto& quotient) {
    return sum_of_squares(x, size, quotient, grid, levels);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(count_places);
HWY_EXPORT(sum_of_squared_errors);

// Zero has a place, too, so that a unit in the last place of a value is no more than two places.
MinMax with_zero(MinMax range) { return {std::min(range.min, 0.0f), std::max(range.max, 0.0f)}; }

// Where float32 arithmetic puts the border between two codes: off by less than this part of a bin.
constexpr double kBorder = 8.0 / kPlacesOfBin;

int64_t bin_at(double place) {
  return static_cast<int64_t>(std::clamp(std::floor(place), 0.0, static_cast<double>(kBins)));
}

}  // namespace

double mean_squared_error(const float* x, int64_t size, ScaleZeroPoint grid, Levels levels) {
  if (!std::isfinite(grid.scale)) return std::numeric_limits<double>::infinity();
  return HWY_DYNAMIC_DISPATCH(sum_of_squared_errors)(x, size, grid, levels) /
         static_cast<double>(size);
}

bool BinnedValues::can_hold(MinMax range, int64_t size) {
  return std::isfinite(range.min) && std::isfinite(range.max) && range.min < range.max &&
         size < kMostValues;
}

BinnedValues::BinnedValues(const float* x, int64_t size, MinMax range) {
  const MinMax whole = with_zero(range);
  constexpr double kLastPlace = kBins * kPlacesOfBin - 1;
  const double places_per_unit = kLastPlace / (static_cast<double>(whole.max) - whole.min);
  origin_ = whole.min;
  width_ = kPlacesOfBin / places_per_unit;
  std::vector<uint64_t> table(kBins);
  HWY_DYNAMIC_DISPATCH(count_places)(x, size, origin_, places_per_unit, table.data());
  sums_.reserve(kBins + 1);
  Sums sums = {0, 0, 0};
  sums_.push_back(sums);
  for (int64_t bin = 0; bin < kBins; ++bin) {
    const auto count = static_cast<double>(table[bin] >> kCountShift);
    const auto places = static_cast<double>(table[bin] % (uint64_t{1} << kCountShift));
    const double middle = origin_ + (static_cast<double>(bin) + 0.5) * width_;
    // The sum of distances to the middle. A place begins at its number: values lie half of it
    // beyond.
    const double offset = (places / kPlacesOfBin + (0.5 / kPlacesOfBin - 0.5) * count) * width_;
    sums.count += count;
    sums.value += count * middle + offset;
    sums.square += (count * middle + 2 * offset) * middle;
    sums_.push_back(sums);
  }
}

// What is known so far.
class BinnedValues::Error {
 public:
  Error(const BinnedValues& values, double scale) : values_(values), scale_(scale) {}

  // The values in the bins [begin, end) become y.
  void add_certain(int64_t begin, int64_t end, double y) {
    if (begin >= end) return;
    const Sums &before = values_.sums_[begin], &after = values_.sums_[end];
    const double count = after.count - before.count;
    certain_ += after.square - before.square - 2 * y * (after.value - before.value) + y * y * count;
    count_ += count;
  }

  // The values in the bins [begin, end) become one of the two codes beside a border that is in one
  // of them, the nearer one.
  void add_border(int64_t begin, int64_t end) {
    if (begin >= end) return;
    const double count = values_.sums_[end].count - values_.sums_[begin].count;
    const double farthest = scale_ / 2 + 2 * kBorder * values_.width_;
    const double nearest = std::max(0.0, scale_ / 2 - (1 + 2 * kBorder) * values_.width_);
    border_low_ += count * nearest * nearest;
    border_high_ += count * farthest * farthest;
  }

  bool may_exceed(double limit) const { return certain_ + border_low_ > limit; }

  // A mean is certain up to half a place of each value; the square of distances within a bin was
  // left out; and the prefix sums are rounded.
  Bounds sum() const {
    const double width = values_.width_, place = width / kPlacesOfBin;
    const double sum = std::max(certain_, 0.0);
    const double unsure = 2 * place * std::sqrt(count_ * (sum + count_ * width * width)) +
                          1e-11 * values_.sums_.back().square;
    const double within = count_ * width * width * 0.26;
    return {std::max(0.0, sum - unsure) + border_low_, sum + unsure + within + border_high_};
  }

 private:
  const BinnedValues& values_;
  double scale_;
  double certain_ = 0, count_ = 0, border_low_ = 0, border_high_ = 0;
};

BinnedValues::Bounds BinnedValues::error_bounds(ScaleZeroPoint grid, Levels levels,
                                                double give_up_above) const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (!std::isfinite(grid.scale)) return {kInfinity, kInfinity};
  const double size = sums_.back().count, limit = give_up_above * size;
  Error error(*this, grid.scale);
  const auto value = [&](float code) -> double { return (code - grid.zero_point) * grid.scale; };
  const auto border_above = [&](float code) {
    const double x = (static_cast<double>(code) + 0.5 - grid.zero_point) * grid.scale;
    return (x - origin_) / width_;
  };
  const auto first_bin = [](double border) { return bin_at(border - kBorder); };
  const auto end_bin = [](double border) { return bin_at(border + kBorder + 1); };
  // What saturates comes first: it shows most bad grids for what they are.
  const int64_t inner_end = end_bin(border_above(levels.high - 1));
  error.add_certain(inner_end, kBins, value(levels.high));
  int64_t begin = 0;
  for (float code = levels.low; code < levels.high; ++code) {
    const double border = border_above(code);
    const int64_t end = std::max(begin, first_bin(border));
    error.add_certain(begin, end, value(code));
    begin = std::max(end, end_bin(border));
    error.add_border(end, begin);
    if (error.may_exceed(limit) && error.sum().low > limit) break;
  }
  const Bounds sum = error.sum();
  return {sum.low / size, sum.high / size};
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

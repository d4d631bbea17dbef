#include "framework/kernels/statistics.h"

#include <algorithm>
#include <vector>

#include "framework/kernels/power_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/statistics_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#ifndef QUELL_STATISTICS_PARTS
#define QUELL_STATISTICS_PARTS
namespace quell::kernels {

// Sums of float32 powers go over this many rows before they are added in double precision. So many
// rows stay in the cache while tokens, then channels, are worked on.
constexpr int64_t kBlockRows = 32;
// A token is summed in this many lanes on every instruction set, in segments of this size.
constexpr int64_t kLanes = 16;
constexpr int64_t kSegment = 64 * kLanes;

// Rows of x [rows, features], and where their statistics go; see add_statistics().
struct Rows {
  const float* x;
  int64_t rows;
  int64_t features;
  Limits limits;
  Moments* channels;
  Moments* tokens;
};

// The sums over the rows so far, a set per column; columns are padded to a multiple of kLanes.
struct ColumnSums {
  explicit ColumnSums(int64_t features)
      : size((features + kLanes - 1) / kLanes * kLanes),
        sums(4 * size),
        centres(size),
        min(size, Moments().min),
        max(size, Moments().max),
        outside(size) {}

  int64_t size;
  std::vector<double> sums;  // [4][size]
  std::vector<float> centres, min, max;
  std::vector<int32_t> outside;
};

}  // namespace quell::kernels
#endif

// What follows is compiled once per instruction set, in a namespace of its own. No step may be
// fused (MulAdd), or the last bits would differ between machines.
HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, kLanes>;
using IntTag = hn::Rebind<int32_t, Tag>;
using Vector = hn::Vec<Tag>;
using IntVector = hn::Vec<IntTag>;

// The first `count` values, then `fill`.
HWY_INLINE Vector load(const float* x, int64_t count, Vector fill) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  if (count >= lanes) return hn::LoadU(tag, x);
  if (count <= 0) return fill;
  const auto some = hn::FirstN(tag, static_cast<size_t>(count));
  return hn::IfThenElse(some, hn::MaskedLoad(some, tag, x), fill);
}

struct Powers {
  Vector s1, s2, s3, s4;

  HWY_INLINE void add(Vector distance) {
    const Vector square = hn::Mul(distance, distance);
    s1 = hn::Add(s1, distance);
    s2 = hn::Add(s2, square);
    s3 = hn::Add(s3, hn::Mul(square, distance));
    s4 = hn::Add(s4, hn::Mul(square, square));
  }
};

HWY_INLINE Powers no_powers() {
  const Vector zero = hn::Zero(Tag());
  return {zero, zero, zero, zero};
}

// Adds lane by lane.
HWY_INLINE void add_to(double* sums, Vector values) {
  const hn::CappedTag<double, kLanes / 2> wide;
  const hn::Rebind<float, decltype(wide)> half;
  constexpr auto kWidth = static_cast<int64_t>(hn::MaxLanes(Tag()));
  const auto step = static_cast<int64_t>(hn::Lanes(wide));
  HWY_ALIGN float buffer[kWidth];
  hn::Store(values, Tag(), buffer);
  for (int64_t i = 0; i < kWidth; i += step) {
    const auto more = hn::PromoteTo(wide, hn::Load(half, buffer + i));
    hn::StoreU(hn::Add(hn::LoadU(wide, sums + i), more), wide, sums + i);
  }
}

// sums: four arrays, `stride` apart.
HWY_INLINE void add_to(double* sums, int64_t stride, const Powers& powers) {
  add_to(sums, powers.s1);
  add_to(sums + stride, powers.s2);
  add_to(sums + 2 * stride, powers.s3);
  add_to(sums + 3 * stride, powers.s4);
}

// In the order of a tree, which does not depend on the width of vectors.
template <typename Number>
HWY_INLINE Number sum_of_lanes(Number* lanes) {
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

// A mean of the first values of a row. That of an eighth lies near enough to that of all: were it
// far away, it would be so because of outliers, which rule the sums of powers then.
float guess_centre(const float* x, int64_t size) {
  const Tag tag;
  constexpr int64_t kWidth = static_cast<int64_t>(hn::MaxLanes(tag));
  const int64_t count = (size / 8 + kLanes - 1) / kLanes * kLanes;
  if (count > size) return x[0];
  HWY_ALIGN float sums[kLanes];
  for (int64_t lane = 0; lane < kLanes; lane += kWidth) {
    Vector sum = hn::Zero(tag);
    for (int64_t i = lane; i < count; i += kLanes) sum = hn::Add(sum, hn::LoadU(tag, x + i));
    hn::Store(sum, tag, sums + lane);
  }
  return sum_of_lanes(sums) / static_cast<float>(count);
}

HWY_INLINE int64_t count_outside(const float* x, int64_t size, Limits limits) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  size_t count = 0;
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const Vector value = hn::LoadU(tag, x + i);
    count += hn::CountTrue(tag, hn::Or(hn::Lt(value, hn::LoadU(tag, limits.low + i)),
                                       hn::Lt(hn::LoadU(tag, limits.high + i), value)));
  }
  for (; i < size; ++i) count += x[i] < limits.low[i] || x[i] > limits.high[i] ? 1 : 0;
  return static_cast<int64_t>(count);
}

Moments moments_of_row(const float* x, int64_t size) {
  const Tag tag;
  constexpr int64_t kWidth = static_cast<int64_t>(hn::MaxLanes(tag));
  PowerSums found;
  const float guess = guess_centre(x, size);
  const Vector centre = hn::Set(tag, guess);
  const Vector some = hn::Set(tag, x[0]);
  Vector min = some, max = some;
  HWY_ALIGN double sums[4][kLanes] = {};
  for (int64_t first = 0; first < size; first += kSegment) {
    const int64_t end = std::min(size, first + kSegment);
    for (int64_t lane = 0; lane < kLanes; lane += kWidth) {
      Powers powers = no_powers();
      const auto add = [&](Vector value, Vector for_range) {
        powers.add(hn::Sub(value, centre));
        min = hn::Min(min, for_range);
        max = hn::Max(max, for_range);
      };
      int64_t i = first + lane;
      for (; i + kWidth <= end; i += kLanes) {
        const Vector value = hn::LoadU(tag, x + i);
        add(value, value);
      }
      // The centre itself adds nothing.
      if (i < end) add(load(x + i, end - i, centre), load(x + i, end - i, some));
      add_to(sums[0] + lane, kLanes, powers);
    }
  }
  for (int64_t power = 0; power < 4; ++power) found.sums[power] = sum_of_lanes(sums[power]);
  found.centre = guess;
  found.min = hn::GetLane(hn::MinOfLanes(tag, min));
  found.max = hn::GetLane(hn::MaxOfLanes(tag, max));
  return moments_of(found, x, size, 1);
}

// The means of the columns of the first block, as a first guess for all.
void guess_centres(const float* x, int64_t rows, int64_t features, float* centres) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < features; ++i) centres[i] += x[row * features + i];
  }
  for (int64_t i = 0; i < features; ++i) centres[i] /= static_cast<float>(rows);
}

// Sums over a block of rows in the columns from `column` on, as many as there are lanes.
template <bool kLimits>
struct Columns {
  HWY_INLINE Columns(const Rows& of, int64_t first, const ColumnSums& all)
      : column(first), count(of.features - first) {
    const Tag tag;
    centre = hn::LoadU(tag, all.centres.data() + column);
    min = hn::LoadU(tag, all.min.data() + column);
    max = hn::LoadU(tag, all.max.data() + column);
    powers = no_powers();
    if constexpr (kLimits) {
      low = load(of.limits.low + column, count, min);
      high = load(of.limits.high + column, count, max);
      outside = hn::LoadU(IntTag(), all.outside.data() + column);
    }
  }

  // `at`: of the first column; returns how many are outside.
  template <bool kWhole>
  HWY_INLINE int64_t add(const float* at) {
    const Tag tag;
    const Vector x = kWhole ? hn::LoadU(tag, at) : load(at, count, centre);
    powers.add(hn::Sub(x, centre));
    min = hn::Min(min, x);
    max = hn::Max(max, x);
    if constexpr (kLimits) {
      auto beyond = hn::Or(hn::Lt(x, low), hn::Lt(high, x));
      if constexpr (!kWhole) {
        beyond = hn::And(beyond, hn::FirstN(tag, static_cast<size_t>(count)));
      }
      outside = hn::Sub(outside, hn::BitCast(IntTag(), hn::VecFromMask(tag, beyond)));  // -1
      return static_cast<int64_t>(hn::CountTrue(tag, beyond));
    }
    return 0;
  }

  HWY_INLINE void add_to_all(ColumnSums& all) const {
    add_to(all.sums.data() + column, all.size, powers);
    hn::StoreU(min, Tag(), all.min.data() + column);
    hn::StoreU(max, Tag(), all.max.data() + column);
    if constexpr (kLimits) hn::StoreU(outside, IntTag(), all.outside.data() + column);
  }

  int64_t column, count;
  Vector centre, min, max, low, high;
  IntVector outside;
  Powers powers;
};

// Counts what is outside for tokens, too. Without tokens, which read it in order, the next block
// has to be fetched ahead.
template <bool kLimits>
void add_block(const Rows& of, int64_t first, int64_t last, ColumnSums& all) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Tag()));
  const int64_t block = last - first;
  const bool fetch = of.tokens == nullptr && last + block <= of.rows;
  const int64_t ahead = fetch ? block * of.features : 0;
  HWY_ALIGN int64_t outside[kBlockRows] = {};
  int64_t column = 0;
  for (; column + 2 * lanes <= of.features; column += 2 * lanes) {
    Columns<kLimits> left(of, column, all), right(of, column + lanes, all);
    for (int64_t row = 0; row < block; ++row) {
      const float* at = of.x + (first + row) * of.features + column;
      if (fetch) hwy::Prefetch(at + ahead);
      if (fetch) hwy::Prefetch(at + ahead + lanes);
      const int64_t count = left.template add<true>(at) + right.template add<true>(at + lanes);
      if constexpr (kLimits) outside[row] += count;
    }
    left.add_to_all(all);
    right.add_to_all(all);
  }
  for (; column < of.features; column += lanes) {
    Columns<kLimits> rest(of, column, all);
    for (int64_t row = 0; row < block; ++row) {
      outside[row] += rest.template add<false>(of.x + (first + row) * of.features + column);
    }
    rest.add_to_all(all);
  }
  for (int64_t row = 0; kLimits && of.tokens != nullptr && row < block; ++row) {
    of.tokens[first + row].outside = outside[row];
  }
}

// Sets of.channels and of.tokens.
void statistics_of_rows(const Rows& of) {
  ColumnSums all(of.channels == nullptr ? 0 : of.features);
  const bool limits = of.limits.low != nullptr;
  for (int64_t first = 0; first < of.rows; first += kBlockRows) {
    const int64_t last = std::min(of.rows, first + kBlockRows);
    for (int64_t row = first; of.tokens != nullptr && row < last; ++row) {
      const float* x = of.x + row * of.features;
      of.tokens[row] = moments_of_row(x, of.features);
      if (limits && of.channels == nullptr) {
        of.tokens[row].outside = count_outside(x, of.features, of.limits);
      }
    }
    if (of.channels == nullptr) continue;
    if (first == 0) guess_centres(of.x, last, of.features, all.centres.data());
    if (limits) {
      add_block<true>(of, first, last, all);
    } else {
      add_block<false>(of, first, last, all);
    }
    // Means of twice as many rows lie at most a standard deviation (of all of them) away, so
    // nothing is lost when centres follow at every doubling.
    if ((last & (last - 1)) == 0) {
      move_centres(all.sums.data(), all.centres.data(), all.size, last);
    }
  }
  if (of.channels == nullptr) return;
  for (int64_t i = 0; i < of.features; ++i) {
    PowerSums found{all.centres[i], {}, all.min[i], all.max[i], all.outside[i]};
    for (int64_t power = 0; power < 4; ++power) found.sums[power] = all.sums[power * all.size + i];
    of.channels[i] = moments_of(found, of.x + i, of.rows, of.features);
  }
}

int64_t indices_outside(const float* x, int64_t size, float low, float high, int32_t* found) {
  const Tag tag;
  const auto lanes = static_cast<int64_t>(hn::Lanes(tag));
  const Vector least = hn::Set(tag, low), most = hn::Set(tag, high);
  int64_t count = 0, i = 0;
  for (; i + lanes <= size; i += lanes) {
    const Vector value = hn::LoadU(tag, x + i);
    const auto outside = hn::Or(hn::Lt(value, least), hn::Lt(most, value));
    if (hn::AllFalse(tag, outside)) continue;
    const IntVector indices = hn::Iota(IntTag(), static_cast<int32_t>(i));
    count += static_cast<int64_t>(hn::CompressBlendedStore(
        indices, hn::RebindMask(IntTag(), outside), IntTag(), found + count));
  }
  for (; i < size; ++i) {
    if (x[i] < low || x[i] > high) found[count++] = static_cast<int32_t>(i);
  }
  return count;
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quell::kernels {
namespace {

HWY_EXPORT(statistics_of_rows);
HWY_EXPORT(indices_outside);

// Rows are cut into chunks in a way that depends on their number alone: not so many that merging
// them costs, not so few that threads go idle.
constexpr int64_t kChunkRows = 512;
constexpr int64_t kMostChunks = 64;

int64_t rows_of_a_chunk(int64_t rows) {
  const int64_t blocks = (rows + kMostChunks * kBlockRows - 1) / (kMostChunks * kBlockRows);
  return std::max(kChunkRows, blocks * kBlockRows);
}

}  // namespace

void add_statistics(const float* x, int64_t rows, int64_t features, Limits limits,
                    Moments* channels, Moments* tokens, ParallelFor parallel_for) {
  if (rows == 0 || features == 0) return;
  const int64_t step = rows_of_a_chunk(rows);
  const int64_t chunks = (rows + step - 1) / step;
  std::vector<Moments> parts(channels == nullptr ? 0 : chunks * features);
  parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * step, count = std::min(step, rows - first);
      HWY_DYNAMIC_DISPATCH(statistics_of_rows)
      ({x + first * features, count, features, limits,
        channels == nullptr ? nullptr : parts.data() + chunk * features,
        tokens == nullptr ? nullptr : tokens + first});
    }
  });
  for (size_t i = 0; i < parts.size(); ++i) {
    merge(parts[i], channels[static_cast<int64_t>(i) % features]);
  }
}

int64_t find_outside(const float* x, int64_t size, float low, float high, int32_t* found) {
  return HWY_DYNAMIC_DISPATCH(indices_outside)(x, size, low, high, found);
}

}  // namespace quell::kernels
#endif  // HWY_ONCE

// Codes as products of a few rows read them, for kernels that are compiled once per instruction
// set: see highway's rules on "-inl.h" headers for this include guard.
#if defined(QUELL_KERNELS_INTEGER_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_INTEGER_PANELS_INL_H_
#undef QUELL_KERNELS_INTEGER_PANELS_INL_H_
#else
#define QUELL_KERNELS_INTEGER_PANELS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "framework/kernels/integer_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Keys and values are stored as signed codes, these less.
constexpr int32_t kCentre = 128;

// How the route of a head lays codes out: `kCodes` of a row in a step, `kBytes` each.
struct InFours {
  static constexpr int64_t kCodes = 4, kBytes = 1;
};
struct InPairs {
  static constexpr int64_t kCodes = 2, kBytes = 2;
};

template <class Layout>
int64_t steps_of(int64_t codes) {
  return (codes + Layout::kCodes - 1) / Layout::kCodes;
}

inline int64_t padded(int64_t columns) { return (columns + kPanel - 1) / kPanel * kPanel; }

// A step of signed codes of one column.
template <class Layout>
HWY_INLINE void put_step(const uint8_t* codes, int64_t stride, int64_t count, int8_t* to) {
  for (int64_t i = 0; i < count; ++i) {
    const auto code = static_cast<int16_t>(codes[i * stride] - kCentre);  // the low byte is first
    std::memcpy(to + i * Layout::kBytes, &code, Layout::kBytes);
  }
}

// rows [count, size] to panels of 16 rows; what is missing is 0.
template <class Layout>
void pack_rows(const uint8_t* rows, int64_t stride, int64_t count, int64_t size, int8_t* panels) {
  const int64_t steps = steps_of<Layout>(size), whole = size / Layout::kCodes;
  std::memset(panels, 0, static_cast<size_t>(padded(count) * steps * kStepBytes));
  for (int64_t row = 0; row < count; ++row) {
    const uint8_t* from = rows + row * stride;
    int8_t* to = panels + row / kPanel * steps * kPanelStep + row % kPanel * kStepBytes;
    for (int64_t step = 0; step < steps; ++step, from += Layout::kCodes, to += kPanelStep) {
      if (Layout::kBytes == 1 && step < whole) {
        uint32_t codes;
        std::memcpy(&codes, from, sizeof(codes));
        codes ^= 0x80808080U;  // less kCentre, of four codes
        std::memcpy(to, &codes, sizeof(codes));
      } else {
        put_step<Layout>(from, 1, std::min(Layout::kCodes, size - step * Layout::kCodes), to);
      }
    }
  }
}

// The first 16 codes of four rows, `stride` apart: each step is one column's.
HWY_INLINE void put_four_rows(const uint8_t* rows, int64_t stride, int8_t* to) {
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<uint8_t, 16> tag;
  const hn::Repartition<uint16_t, decltype(tag)> pairs;
  const auto centre = hn::Set(tag, uint8_t{kCentre});
  const auto row = [&](int64_t i)
                       HWY_ATTR { return hn::Xor(hn::LoadU(tag, rows + i * stride), centre); };
  const auto a = row(0), b = row(1), c = row(2), d = row(3);
  const auto low_ab = hn::BitCast(pairs, hn::InterleaveLower(tag, a, b));
  const auto low_cd = hn::BitCast(pairs, hn::InterleaveLower(tag, c, d));
  const auto high_ab = hn::BitCast(pairs, hn::InterleaveUpper(tag, a, b));
  const auto high_cd = hn::BitCast(pairs, hn::InterleaveUpper(tag, c, d));
  const auto put = [&](auto fours, int64_t place) HWY_ATTR {
    hn::StoreU(hn::BitCast(tag, fours), tag, reinterpret_cast<uint8_t*>(to) + place * kPanel);
  };
  put(hn::InterleaveLower(pairs, low_ab, low_cd), 0);
  put(hn::InterleaveUpper(pairs, low_ab, low_cd), 1);
  put(hn::InterleaveLower(pairs, high_ab, high_cd), 2);
  put(hn::InterleaveUpper(pairs, high_ab, high_cd), 3);
#else
  for (int64_t c = 0; c < kPanel; ++c) put_step<InFours>(rows + c, stride, 4, to + c * kStepBytes);
#endif
}

// rows [count, size] to panels of 16 columns with `steps` of rows each; what is missing is 0.
template <class Layout>
void pack_columns_of(const uint8_t* rows, int64_t stride, int64_t count, int64_t size,
                     int64_t steps, int8_t* panels) {
  std::memset(panels, 0, static_cast<size_t>(padded(size) * steps * kStepBytes));
  for (int64_t column = 0; column < size; column += kPanel, panels += steps * kPanelStep) {
    const int64_t columns = std::min(kPanel, size - column);
    for (int64_t row = 0; row < count; row += Layout::kCodes) {
      const uint8_t* from = rows + row * stride + column;
      int8_t* to = panels + row / Layout::kCodes * kPanelStep;
      const int64_t present = std::min(Layout::kCodes, count - row);
      if (Layout::kBytes == 1 && columns == kPanel && present == Layout::kCodes) {
        put_four_rows(from, stride, to);
        continue;
      }
      for (int64_t c = 0; c < columns; ++c) {
        put_step<Layout>(from + c, stride, present, to + c * kStepBytes);
      }
    }
  }
}

// Unsigned codes as rows are read, up to whole steps; what is missing is 0.
template <class Layout>
void put_row(const uint8_t* codes, int64_t count, int64_t steps, uint8_t* to) {
  std::memset(to + (steps - 1) * kStepBytes, 0, kStepBytes);
  if (Layout::kBytes == 1) {
    std::copy_n(codes, count, to);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t code = codes[i];
    std::memcpy(to + i * Layout::kBytes, &code, Layout::kBytes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

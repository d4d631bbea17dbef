#include "framework/kernels/narrow_codes.h"

#include <algorithm>

namespace quell::kernels {
namespace {

void pack_halves(const int8_t* codes, uint8_t* to) {
  constexpr int kLow = 8;
  for (int64_t i = 0; i < kNarrowHalf; ++i) {
    const int low = codes[i] + kLow, high = codes[i + kNarrowHalf] + kLow;
    to[i] = static_cast<uint8_t>(low | high << 4);
  }
}

void pack_planes(const int8_t* codes, uint8_t* to) {
  constexpr int kLow = 32, kPlanes = 3;
  for (int plane = 0; plane < kPlanes; ++plane) {
    for (int64_t i = 0; i < kNarrowPlane; ++i) {
      const int own = codes[i + plane * kNarrowPlane] + kLow;
      const int shared = codes[i + kPlanes * kNarrowPlane] + kLow;
      to[i + plane * kNarrowPlane] = static_cast<uint8_t>(own | (shared >> (2 * plane) & 3) << 6);
    }
  }
}

}  // namespace

int narrow_bits(const int8_t* codes, int64_t count) {
  int lowest = 0, highest = 0;
  for (int64_t i = 0; i < count; ++i) {
    lowest = std::min<int>(lowest, codes[i]);
    highest = std::max<int>(highest, codes[i]);
  }
  for (const int bits : {4, 6}) {
    const int half = 1 << (bits - 1);
    if (lowest >= -half && highest < half) return bits;
  }
  return 8;
}

void pack_narrow(const int8_t* codes, int64_t count, int bits, uint8_t* to) {
  const auto pack = bits == 4 ? pack_halves : pack_planes;
  for (; count > 0; count -= kNarrowBlock, codes += kNarrowBlock) {
    if (count >= kNarrowBlock) {
      pack(codes, to);
    } else {
      int8_t last[kNarrowBlock] = {};
      std::copy_n(codes, count, last);
      pack(last, to);
    }
    to += narrow_bytes(kNarrowBlock, bits);
  }
}

}  // namespace quell::kernels

// Unpacks narrow codes, for kernels that are compiled once per instruction set: see highway's rules
// on "-inl.h" headers for this include guard.
#if defined(QUELL_KERNELS_NARROW_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUELL_KERNELS_NARROW_CODES_INL_H_
#undef QUELL_KERNELS_NARROW_CODES_INL_H_
#else
#define QUELL_KERNELS_NARROW_CODES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "framework/kernels/narrow_codes.h"

HWY_BEFORE_NAMESPACE();
namespace quell::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using NarrowTag = hn::CappedTag<uint8_t, static_cast<size_t>(kNarrowPlane)>;

// Less half of the range: two's complement.
template <class V>
HWY_INLINE void put_codes(V codes, int half, int8_t* to) {
  const NarrowTag tag;
  const V signed_codes = hn::Sub(codes, hn::Set(tag, static_cast<uint8_t>(half)));
  hn::StoreU(signed_codes, tag, reinterpret_cast<uint8_t*>(to));
}

HWY_INLINE void unpack_halves(const uint8_t* from, int8_t* to) {
  const NarrowTag tag;
  const auto low = hn::Set(tag, uint8_t{15});
  const auto step = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t i = 0; i < kNarrowHalf; i += step) {
    const auto both = hn::LoadU(tag, from + i);
    put_codes(hn::And(both, low), 8, to + i);
    put_codes(hn::ShiftRight<4>(both), 8, to + i + kNarrowHalf);
  }
}

HWY_INLINE void unpack_planes(const uint8_t* from, int8_t* to) {
  const NarrowTag tag;
  const auto low = hn::Set(tag, uint8_t{63});
  const auto step = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t i = 0; i < kNarrowPlane; i += step) {
    const auto first = hn::LoadU(tag, from + i);
    const auto second = hn::LoadU(tag, from + i + kNarrowPlane);
    const auto third = hn::LoadU(tag, from + i + 2 * kNarrowPlane);
    put_codes(hn::And(first, low), 32, to + i);
    put_codes(hn::And(second, low), 32, to + i + kNarrowPlane);
    put_codes(hn::And(third, low), 32, to + i + 2 * kNarrowPlane);
    const auto of_second = hn::And(hn::ShiftRight<4>(second), hn::Set(tag, uint8_t{12}));
    const auto of_third = hn::And(hn::ShiftRight<2>(third), hn::Set(tag, uint8_t{48}));
    const auto shared = hn::Or(hn::ShiftRight<6>(first), hn::Or(of_second, of_third));
    put_codes(shared, 32, to + i + 3 * kNarrowPlane);
  }
}

// `blocks` of codes of 4 or 6 bits, to a byte each.
inline void unpack_narrow(const uint8_t* from, int64_t blocks, int bits, int8_t* to) {
  for (int64_t block = 0; block < blocks; ++block) {
    (bits == 4 ? unpack_halves : unpack_planes)(from, to);
    from += narrow_bytes(kNarrowBlock, bits);
    to += kNarrowBlock;
  }
}

// The same to two bytes each.
inline void unpack_narrow_widened(const uint8_t* from, int64_t blocks, int bits, int16_t* to) {
  for (int64_t block = 0; block < blocks; ++block) {
    int8_t codes[kNarrowBlock];
    unpack_narrow(from, 1, bits, codes);
    for (int64_t i = 0; i < kNarrowBlock; ++i) to[i] = codes[i];
    from += narrow_bytes(kNarrowBlock, bits);
    to += kNarrowBlock;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quell::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard

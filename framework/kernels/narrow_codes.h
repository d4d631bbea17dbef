// Signed codes of up to 4 or 6 bits, packed as such: two in a byte, or four in three bytes. They
// lie in blocks, which vectors unpack with a few operations each. Half of their range is added:
// what is packed is not negative.
#pragma once

#include <cstdint>

namespace quell::kernels {

constexpr int64_t kNarrowBlock = 256;  // codes
// Of 4 bits, byte i of a block has code i in its lower half, and code i + kNarrowHalf in its upper.
constexpr int64_t kNarrowHalf = kNarrowBlock / 2;
// Of 6 bits, byte i of plane p, which follow one another, has code i + p * kNarrowPlane in its
// lower six bits, and in its upper two bits 2 p and 2 p + 1 of code i + 3 * kNarrowPlane.
constexpr int64_t kNarrowPlane = kNarrowBlock / 4;

// 4 or 6 where so many bits are enough for all codes, else 8.
int narrow_bits(const int8_t* codes, int64_t count);

// Of whole blocks for so many codes, of 4 or 6 bits.
constexpr int64_t narrow_bytes(int64_t count, int bits) {
  return (count + kNarrowBlock - 1) / kNarrowBlock * kNarrowBlock * bits / 8;
}

// `to` has narrow_bytes(). Behind the last code the block is filled with codes of 0.
void pack_narrow(const int8_t* codes, int64_t count, int bits, uint8_t* to);

}  // namespace quell::kernels

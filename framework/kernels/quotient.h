// When a division can be done by multiplying.
#pragma once

namespace quell::kernels {

// Whether ByReciprocal of quotient-inl.h may be used: what is left of a dividend, 2^-48 of it, must
// not underflow.
inline bool has_reciprocal(float divisor) { return divisor > 0x1p-60f && divisor < 0x1p60f; }

}  // namespace quell::kernels

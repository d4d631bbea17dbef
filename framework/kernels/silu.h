// x / (1 + exp(-x)), which gates of LLaMA multiply by.
#pragma once

#include <cstdint>

#include "framework/kernels/parallel.h"

namespace quell::kernels {

// In place, of `count` values: to 4 units in the last place, or to 1e-34. NaN stays.
void silu(float* values, int64_t count, ParallelFor parallel_for = serial_for);

struct Device;
// The same on a device; false where there is no kernel for it, and nothing is done.
bool silu(const Device& device, float* values, int64_t count);

}  // namespace quell::kernels

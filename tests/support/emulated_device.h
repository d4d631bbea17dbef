// A second device in this process, for checks that need no GPU: LibTorch's PrivateUse1. Its memory
// can be touched by LibTorch's operations and by kernels behind their door alone, anything else
// that follows a pointer there is stopped by the operating system; operations that mix its tensors
// with those of the host throw, but for scalars.
#pragma once

#include <c10/core/Device.h>
#include <cstdint>

namespace quell {

// Registers it, once.
at::Device emulated_device();

// Copies of tensors, and single values that were read from it.
struct EmulatedTraffic {
  int64_t copies_to_device = 0;
  int64_t copies_to_host = 0;
  int64_t values_read = 0;
};
EmulatedTraffic emulated_traffic();

}  // namespace quell

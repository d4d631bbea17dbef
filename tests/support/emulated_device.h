// Two devices in this process, for checks that need no GPU: LibTorch's PrivateUse1. Their memory
// can be touched by LibTorch's operations and by kernels behind their door alone, anything else
// that follows a pointer there is stopped by the operating system; operations that mix tensors of
// one with those of the other or of the host throw, but for the host's scalars.
#pragma once

#include <c10/core/Device.h>
#include <cstdint>
#include <vector>

namespace quell {

// Registers them, once.
std::vector<at::Device> emulated_devices();

// Copies of tensors, and single values that were read.
struct EmulatedTraffic {
  int64_t copies_to_device = 0;  // on the stream that computes
  int64_t copies_to_host = 0;
  int64_t values_read = 0;
  int64_t copied_aside = 0;  // to a device, on a stream of their own
  int64_t used_here = 0;     // tensors whose memory was said to be used by the one that computes
};
EmulatedTraffic emulated_traffic();

}  // namespace quell

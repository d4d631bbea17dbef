// Where tensors are, for kernels/dispatch.h, and the way to the host.
//
// Rows, weights and what is bound to a batch are on the device of the model; ranges, scales,
// shifts, zero points, batches and outputs are on the host.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "framework/kernels/dispatch.h"

namespace quell {

// The CPU, with LibTorch's threads.
kernels::Device host_device();

// Of a tensor on the CPU, on a GPU, or on a device that was registered. Throws Error where the
// program has no kernels for it.
kernels::Device kernel_device(const at::Tensor& tensor);
// For a reduction of a tensor that is seen as [outer, channels, inner]; `workspace` is to live as
// long as the call.
kernels::Device kernel_device(const at::Tensor& tensor, kernels::Reduction reduction,
                              const std::array<int64_t, 3>& view, at::Tensor& workspace);
// Kernels of other devices, for tests.
using KernelsOfDevice = kernels::Device (*)(at::Device device);
void register_device(c10::DeviceType type, KernelsOfDevice kernels);

// What is wrong with a name on any machine: "" for "cpu", "cuda", "cuda:1", and the names of
// registered devices.
std::string device_problem(const std::string& name);
// That device, ready for use. Throws ConfigError where this program or this machine has none such.
at::Device available_device(const std::string& name);

// "cuda:0 (NVIDIA H200)", "cpu".
std::string device_name(at::Device device);

// Parameters on the device of the values that they are for: the tensor itself where it is there,
// else a copy, which is kept as long as the tensor lives unchanged, so that a pass copies nothing.
at::Tensor on_device(const at::Tensor& tensor, at::Device device);

// The values on the host, the tensor itself where it is there. Copies are counted under `purpose`.
at::Tensor on_host(const at::Tensor& tensor, const char* purpose);
struct HostCopies {
  int64_t count = 0, bytes = 0;
};
// By purpose, since the program began.
std::map<std::string, HostCopies> host_copies();
// For the log: "ranges 12 (0.1 MB), outputs 4 (2.0 MB)".
std::string host_copies_text();

}  // namespace quell

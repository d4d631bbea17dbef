// Where tensors are, for kernels/dispatch.h, and the way to the host.
//
// Rows, weights and what is bound to a batch are on the device of the model; ranges, scales,
// shifts, zero points, batches and outputs are on the host.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

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

// What is wrong with these names on any machine: "" for "cpu", "cuda", "cuda:1", several of one
// kind, and registered devices.
std::string devices_problem(const std::vector<std::string>& names);
// Those devices, ready for use. Throws ConfigError where this program or this machine has none
// such.
std::vector<at::Device> available_devices(const std::vector<std::string>& names);

// "cuda:0 (NVIDIA H200), cuda:1 (NVIDIA H200)", "cpu".
std::string device_names(const std::vector<at::Device>& devices);

// For the log, the most that tensors took on GPUs at once: "cuda:0 812 MB". Empty without GPUs.
std::string device_memory_text(const std::vector<at::Device>& devices);

// Parameters on the device of the values that they are for: the tensor itself where it is there,
// else a copy, which is kept as long as the tensor lives unchanged, so that a pass copies nothing.
at::Tensor on_device(const at::Tensor& tensor, at::Device device);

// Pinned: memory that a GPU copies to and from faster; of other devices it is ordinary.
enum class HostMemory { kOrdinary, kPinned };
// Runs `copy`, which copies to a device, on a stream of its own, beside what others compute there,
// and waits for its end. Whoever uses the tensors then says so by used_here().
void copy_aside(at::Device device, const std::function<void()>& copy);
// Their memory is not given to others before what was started here until they die has ended.
void used_here(const at::Tensor& tensor);

// The values on the host, the tensor itself where it is there. Copies are counted under `purpose`.
at::Tensor on_host(const at::Tensor& tensor, const char* purpose,
                   HostMemory memory = HostMemory::kOrdinary);
struct HostCopies {
  int64_t count = 0, bytes = 0;
};
// By purpose, since the program began.
std::map<std::string, HostCopies> host_copies();
// For the log: "ranges 12 (0.1 MB), outputs 4 (2.0 MB)".
std::string host_copies_text();

}  // namespace quell

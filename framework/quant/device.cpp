#include "framework/quant/device.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mutex>
#include <optional>
#include <set>

#include "framework/base/error.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

constexpr const char* kCudaLibrary = "libtorch_cuda.so";

std::map<c10::DeviceType, KernelsOfDevice>& registered_devices() {
  static std::map<c10::DeviceType, KernelsOfDevice> devices;
  return devices;
}

// Tensors of the host that were copied to a device, as they were then.
class Parameters {
 public:
  at::Tensor on(const at::Tensor& tensor, at::Device device) {
    const std::lock_guard lock(mutex_);
    if (known_.size() > kMost) forget();
    Copy& copy = known_[{tensor.unsafeGetTensorImpl(), device.index()}];
    const bool is_same = copy.original && !copy.original->expired() &&
                         copy.version == tensor._version() && copy.tensor.device() == device;
    if (!is_same) {
      copy = {c10::weak_intrusive_ptr<at::TensorImpl>(tensor.getIntrusivePtr()), tensor._version(),
              tensor.to(device)};
    }
    return copy.tensor;
  }

 private:
  static constexpr size_t kMost = 1 << 14;

  struct Copy {
    std::optional<c10::weak_intrusive_ptr<at::TensorImpl>> original;
    int64_t version = 0;
    at::Tensor tensor;
  };

  // Those whose originals are gone.
  void forget() {
    std::erase_if(known_, [](const auto& one) {
      return !one.second.original || one.second.original->expired();
    });
  }

  std::mutex mutex_;
  std::map<std::pair<const at::TensorImpl*, at::DeviceIndex>, Copy> known_;
};

std::mutex copies_mutex;
std::map<std::string, HostCopies>& copies() {
  static std::map<std::string, HostCopies> by_purpose;
  return by_purpose;
}

kernels::Device cuda_device(at::Device device) {
  const auto* guard = c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA);
  return {.kind = kernels::DeviceKind::kCuda,
          .index = device.index(),
          .stream = guard->getStreamNativeHandle(guard->getStream(device))};
}

// LibTorch's operations for CUDA are a library of their own, which only those who ask for a GPU
// load.
void load_cuda() {
  static const std::string problem = [] {
    if (!kernels::has_cuda()) {
      return std::string(
          "this program has no kernels for it, or this machine no GPU that can run them; build "
          "where nvcc is found with -DQUELL_CUDA=ON, and see that `nvidia-smi` names a GPU");
    }
    if (dlopen(kCudaLibrary, RTLD_NOW | RTLD_GLOBAL) != nullptr) {
      at::globalContext().setAllowTF32CuBLAS(false);  // a variable may have switched it on
      return std::string();
    }
    return fmt::format("{}: `QUELL_CUDA=1 make setup` installs what is missing", dlerror());
  }();
  if (!problem.empty()) throw ConfigError("model.device: cuda: " + problem);
}

std::string device_problem(const std::string& name) {
  try {
    const at::Device device(name);
    if (device.is_cpu() || device.is_cuda() || registered_devices().contains(device.type())) {
      return "";
    }
    return fmt::format("models do not run on \"{}\"; use cpu, cuda, or cuda:1", name);
  } catch (const c10::Error&) {
    return fmt::format("there is no device \"{}\"; use cpu, cuda, or cuda:1", name);
  }
}

at::Device available_device(at::Device device) {
  if (device.is_cpu()) return at::kCPU;
  if (device.is_cuda()) load_cuda();
  const auto* guard = c10::impl::getDeviceGuardImpl(device.type());
  const auto count = static_cast<int64_t>(guard->deviceCount());
  const at::DeviceIndex index = device.has_index() ? device.index() : at::DeviceIndex{0};
  if (index < count) return {device.type(), index};
  throw ConfigError(fmt::format("model.device: {}: this machine has {} of them, counted from 0",
                                device.str(), count));
}

}  // namespace

kernels::Device host_device() { return {.parallel_for = parallel_for}; }

kernels::Device kernel_device(const at::Tensor& tensor) {
  const at::Device device = tensor.device();
  if (device.is_cpu()) return host_device();
  if (device.is_cuda()) return cuda_device(device);
  const auto found = registered_devices().find(device.type());
  if (found != registered_devices().end()) return found->second(device);
  throw Error(fmt::format("there are no kernels for tensors on device {}", device.str()));
}

kernels::Device kernel_device(const at::Tensor& tensor, kernels::Reduction reduction,
                              const std::array<int64_t, 3>& view, at::Tensor& workspace) {
  kernels::Device device = kernel_device(tensor);
  const int64_t bytes = kernels::workspace_bytes(device, reduction, view[0], view[1], view[2]);
  if (bytes == 0) return device;
  workspace = at::zeros({bytes}, tensor.options().dtype(at::kByte));
  device.workspace = workspace.mutable_data_ptr();
  return device;
}

void register_device(c10::DeviceType type, KernelsOfDevice kernels) {
  registered_devices()[type] = kernels;
}

std::string devices_problem(const std::vector<std::string>& names) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (const std::string problem = device_problem(name); !problem.empty()) return problem;
    if (names.size() == 1) continue;
    const at::Device device(name);
    if (device.is_cpu()) return "a model runs on the cpu or on GPUs; leave cpu out of the list";
    if (device.type() != at::Device(names.front()).type()) {
      return fmt::format("\"{}\" and \"{}\" are of two kinds; list devices of one", names.front(),
                         name);
    }
    if (!device.has_index()) return fmt::format("say which in a list, as in [{0}:0, {0}:1]", name);
    if (!seen.insert(name).second) return fmt::format("lists \"{}\" twice", name);
  }
  return "";
}

std::vector<at::Device> available_devices(const std::vector<std::string>& names) {
  if (const std::string problem = devices_problem(names); !problem.empty()) {
    throw ConfigError("model.device: " + problem);
  }
  std::vector<at::Device> devices;
  for (const std::string& name : names) devices.push_back(available_device(at::Device(name)));
  return devices;
}

std::string device_names(const std::vector<at::Device>& devices) {
  std::vector<std::string> names;
  for (const at::Device device : devices) {
    names.push_back(device.is_cuda()
                        ? fmt::format("{} ({})", device.str(), kernels::cuda_name(device.index()))
                        : device.str());
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string device_memory_text(const std::vector<at::Device>& devices) {
  constexpr double kMegabyte = 1e6;
  std::vector<std::string> parts;
  for (const at::Device device : devices) {
    if (!device.is_cuda()) continue;
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    parts.push_back(fmt::format("{} {:.0f} MB", device.str(),
                                static_cast<double>(stats.allocated_bytes[all].peak) / kMegabyte));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

at::Tensor on_device(const at::Tensor& tensor, at::Device device) {
  if (tensor.device() == device) return tensor;
  // While gradients are recorded the copy is a part of what they are recorded of.
  if (at::GradMode::is_enabled() && tensor.requires_grad()) return tensor.to(device);
  static Parameters parameters;
  return parameters.on(tensor, device);
}

void copy_aside(at::Device device, const std::function<void()>& copy) {
  if (device.is_cpu()) return copy();
  const auto* guard = c10::impl::getDeviceGuardImpl(device.type());
  const c10::Stream own = guard->getStreamFromGlobalPool(device);
  const c10::StreamGuard on(own);
  copy();
  guard->synchronizeStream(own);
}

void used_here(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.device().is_cpu()) return;
  const auto* guard = c10::impl::getDeviceGuardImpl(tensor.device().type());
  guard->recordDataPtrOnStream(tensor.storage().data_ptr(), guard->getStream(tensor.device()));
}

at::Tensor on_host(const at::Tensor& tensor, const char* purpose, HostMemory memory) {
  if (!tensor.defined() || tensor.device().is_cpu()) return tensor;
  {
    const std::lock_guard lock(copies_mutex);
    HostCopies& sum = copies()[purpose];
    ++sum.count;
    sum.bytes += static_cast<int64_t>(tensor.nbytes());
  }
  if (memory == HostMemory::kOrdinary || !tensor.is_cuda()) return tensor.to(at::kCPU);
  at::Tensor pinned =
      at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
  return pinned.copy_(tensor);
}

std::map<std::string, HostCopies> host_copies() {
  const std::lock_guard lock(copies_mutex);
  return copies();
}

std::string host_copies_text() {
  constexpr double kMegabyte = 1e6;
  std::vector<std::string> parts;
  for (const auto& [purpose, sum] : host_copies()) {
    parts.push_back(fmt::format("{} {} ({:.1f} MB)", purpose, sum.count,
                                static_cast<double>(sum.bytes) / kMegabyte));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace quell

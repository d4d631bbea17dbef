#include "tests/support/emulated_device.h"

#include <ATen/ATen.h>
#include <ATen/NativeFunctions.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/Allocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <unistd.h>
#include <atomic>
#include <bit>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <vector>

#include "framework/quant/device.h"

namespace quell {
namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
constexpr c10::DeviceIndex kDevices = 2;
constexpr c10::StreamId kAside = 1;

std::atomic<int64_t> copies_to_device{0}, copies_to_host{0}, values_read{0};
std::atomic<int64_t> copied_aside{0}, recorded{0};
thread_local c10::DeviceIndex current_device = 0;
thread_local c10::StreamId current_stream = c10::Stream::DEFAULT;

at::Device device_of(c10::DeviceIndex index) { return {kType, index}; }

// The same memory at two addresses: one that nobody may read or write, which tensors have, and one
// for those who are allowed to.
class Memory {
 public:
  static Memory& get() {
    static Memory* memory = new Memory;  // tensors may outlive everything
    return *memory;
  }

  void* allocate(size_t bytes) {
    constexpr size_t kLeast = 64;
    const size_t size = std::bit_ceil(std::max(bytes, kLeast));
    const std::lock_guard lock(mutex_);
    std::vector<char*>& free = free_[size];
    char* place = hidden_ + used_;
    if (!free.empty()) {
      place = free.back();
      free.pop_back();
    } else {
      used_ += size;
      if (used_ > kBytes) throw std::bad_alloc();
    }
    sizes_[place] = size;
    return place;
  }

  void release(void* place) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(static_cast<char*>(place));
    free_[found->second].push_back(found->first);
    sizes_.erase(found);
  }

  std::ptrdiff_t offset() const { return open_ - hidden_; }

 private:
  static constexpr size_t kBytes = size_t{1} << 33;  // of addresses

  Memory() {
    const int file = memfd_create("emulated device", 0);
    if (file < 0 || ftruncate(file, kBytes) != 0) throw std::runtime_error("memory of a device");
    const auto map = [&](int access) {
      void* place = mmap(nullptr, kBytes, access, MAP_SHARED | MAP_NORESERVE, file, 0);
      if (place == MAP_FAILED) throw std::runtime_error("memory of a device");
      return static_cast<char*>(place);
    };
    hidden_ = map(PROT_NONE);
    open_ = map(PROT_READ | PROT_WRITE);
  }

  std::mutex mutex_;
  char *hidden_ = nullptr, *open_ = nullptr;
  size_t used_ = 0;
  std::map<size_t, std::vector<char*>> free_;
  std::map<char*, size_t> sizes_;
};

struct Allocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* place = Memory::get().allocate(bytes);
    return {place, place, raw_deleter(), device_of(current_device)};
  }
  c10::DeleterFnPtr raw_deleter() const override {
    return [](void* place) { Memory::get().release(place); };
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    const std::ptrdiff_t offset = Memory::get().offset();
    std::memcpy(static_cast<char*>(to) + offset, static_cast<const char*>(from) + offset, bytes);
  }
};

// One stream in order, whatever it is called, and events that have always happened.
struct Guard final : c10::impl::NoOpDeviceGuardImpl<kType> {
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    uncheckedSetDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return device_of(current_device); }
  void setDevice(c10::Device device) const override { uncheckedSetDevice(device); }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.has_index()) current_device = device.index();
  }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }
  c10::Stream getStream(c10::Device device) const noexcept override {
    return c10::Stream(c10::Stream::UNSAFE, device, current_stream);
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, kAside);
  }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override {
    const c10::Stream before = getStream(stream.device());
    current_stream = stream.id();
    return before;
  }
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream& stream) const override {
    if (stream.id() != kAside) ++recorded;
  }
};

// What automatic differentiation asks of a device.
struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kDevices; }
  c10::DeviceIndex getCurrentDevice() const override { return current_device; }
};

// A tensor of the host on the same memory.
at::Tensor opened(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
  char* place = static_cast<char*>(tensor.unsafeGetTensorImpl()->mutable_data());
  return at::from_blob(place + Memory::get().offset(), tensor.sizes(), tensor.strides(),
                       tensor.options().device(at::kCPU));
}

at::Tensor on_device(const at::Tensor& tensor, at::Device device) {
  const at::Tensor result =
      at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(device));
  opened(result).copy_(tensor);
  return result;
}

// An output that an operation made as large as it needs.
void replace(const at::Tensor& to, const at::Tensor& from) {
  const at::Tensor made = on_device(from, to.device());
  to.unsafeGetTensorImpl()->set_storage_keep_dtype(made.storage());
  to.unsafeGetTensorImpl()->set_sizes_and_strides(made.sizes(), made.strides());
}

// Runs an operation on the host, in the memory of the device.
class HostCall {
 public:
  HostCall(const c10::OperatorHandle& operation, torch::jit::Stack& stack)
      : schema_(operation.schema()), stack_(stack) {
    first_ = stack.size() - schema_.arguments().size();
    for (size_t i = first_; i < stack.size(); ++i) {
      originals_.push_back(stack[i]);
      stack[i] = translated(stack[i]);
    }
    operation.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
    for (const auto& [device, host] : tensors_) {
      if (host.numel() != device.numel() || host.sizes() != device.sizes()) replace(device, host);
    }
    first_ = stack.size() - schema_.returns().size();
    for (size_t i = 0; i < schema_.returns().size(); ++i) {
      stack[first_ + i] = result(i, stack[first_ + i]);
    }
  }

 private:
  at::Tensor translated(const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    if (tensor.device().is_cpu() && tensor.dim() == 0) return tensor;
    if (tensor.device().is_cpu() || (device_ && *device_ != tensor.device())) {
      throw std::logic_error("operation " + schema_.name() + " mixes devices");
    }
    device_ = tensor.device();
    for (const auto& [device, host] : tensors_) {
      if (device.is_same(tensor)) return host;
    }
    tensors_.emplace_back(tensor, opened(tensor));
    return tensors_.back().second;
  }

  c10::IValue translated(const c10::IValue& value) {
    if (value.isTensor()) return translated(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& one : value.toTensorVector()) list.push_back(translated(one));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor> one : value.toOptionalTensorList()) {
        list.push_back(one ? std::optional(translated(*one)) : std::nullopt);
      }
      return list;
    }
    if (value.isDevice()) {
      device_ = value.toDevice();
      return at::Device(at::kCPU);
    }
    return value;
  }

  at::Tensor on_own(const at::Tensor& tensor) const {
    return on_device(tensor, device_.value_or(device_of(current_device)));
  }

  c10::IValue result(size_t index, const c10::IValue& value) const {
    const c10::AliasInfo* alias = schema_.returns()[index].alias_info();
    if (alias != nullptr) {
      for (size_t i = 0; i < originals_.size(); ++i) {
        const c10::AliasInfo* own = schema_.arguments()[i].alias_info();
        if (own != nullptr && *own == *alias && alias->isWrite()) return originals_[i];
      }
      throw std::logic_error("operation " + schema_.name() + " gives a view");
    }
    if (value.isTensor() && value.toTensor().defined()) return on_own(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& one : value.toTensorVector()) list.push_back(on_own(one));
      return list;
    }
    return value;
  }

  const c10::FunctionSchema& schema_;
  torch::jit::Stack& stack_;
  size_t first_;
  std::optional<at::Device> device_;  // of its tensors
  std::vector<c10::IValue> originals_;
  std::vector<std::pair<at::Tensor, at::Tensor>> tensors_;  // of the device, of the host
};

void run_on_host(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  if (operation.schema().name() == "aten::_local_scalar_dense") ++values_read;
  HostCall(operation, *stack);
}

at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> type,
                 std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  const c10::OptionalDeviceGuard guard(device);
  constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_generic(sizes, c10::GetAllocator(kType), kKeys,
                                   type.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides,
                         std::optional<at::ScalarType> type, std::optional<at::Layout>,
                         std::optional<at::Device> device, std::optional<bool>) {
  const c10::OptionalDeviceGuard guard(device);
  constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_strided_generic(sizes, strides, c10::GetAllocator(kType), kKeys,
                                           type.value_or(at::kFloat));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  if (to.device().is_cpu()) ++copies_to_host;
  if (from.device().is_cpu()) ++(current_stream == kAside ? copied_aside : copies_to_device);
  const auto host = [](const at::Tensor& one) { return one.device().is_cpu() ? one : opened(one); };
  host(to).copy_(host(from));
  return to;
}

kernels::Device kernel_device_of(at::Device) {
  kernels::Device device = host_device();
  device.offset = Memory::get().offset();
  return device;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_copy_from", &copy_from);
  library.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  library.impl("view", TORCH_FN(at::native::view));
  library.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  library.impl("unfold", TORCH_FN(at::native::unfold));
  // For other devices LibTorch takes it apart.
  library.impl("native_layer_norm", torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

}  // namespace

std::vector<at::Device> emulated_devices() {
  static const bool registered = [] {
    static Allocator allocator;
    c10::SetAllocator(kType, &allocator);
    c10::register_privateuse1_backend("emulated");
    at::RegisterPrivateUse1HooksInterface(new Hooks);
    register_device(kType, &kernel_device_of);
    return true;
  }();
  static_cast<void>(registered);
  return {device_of(0), device_of(1)};
}

EmulatedTraffic emulated_traffic() {
  return {copies_to_device, copies_to_host, values_read, copied_aside, recorded};
}

}  // namespace quell

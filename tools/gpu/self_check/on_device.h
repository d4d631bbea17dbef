// Arrays in GPU memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace quell::gpu {

inline void require(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "gpu_self_check: CUDA says: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

// A copy of a vector. `offset`: so many elements behind an aligned address.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values, int64_t offset = 0)
      : size_(values.size()), offset_(offset) {
    require(cudaMalloc(&memory_, (size_ + offset + 4) * sizeof(T)));
    require(cudaMemcpy(data(), values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  explicit OnDevice(int64_t size, int64_t offset = 0)
      : OnDevice(std::vector<T>(static_cast<size_t>(size)), offset) {}
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { cudaFree(memory_); }

  T* data() const { return static_cast<T*>(memory_) + offset_; }
  std::vector<T> back() const {
    std::vector<T> values(size_);
    require(cudaMemcpy(values.data(), data(), size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  size_t size_;
  int64_t offset_;
  void* memory_ = nullptr;
};

}  // namespace quell::gpu

// What the HDF5 writer and reader share: handles that close themselves, and errors with a reason.
#pragma once

#include <hdf5.h>

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace quell {

// An attribute's value. Texts are UTF-8 without zero bytes.
using Hdf5Attribute = std::variant<std::string, int64_t, double, std::vector<std::string>,
                                   std::vector<int64_t>, std::vector<double>>;

namespace internal {

// An HDF5 identifier with its closing function. Invalid handles are never closed.
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  hid_t get() const { return id_; }
  bool valid() const { return id_ >= 0; }
  void reset() {
    if (id_ >= 0 && close_ != nullptr) close_(id_);
    id_ = -1;
  }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

// Stops HDF5 from printing its error stack, for as long as it lives.
class Hdf5Quiet {
 public:
  Hdf5Quiet();
  ~Hdf5Quiet();
  Hdf5Quiet(const Hdf5Quiet&) = delete;
  Hdf5Quiet& operator=(const Hdf5Quiet&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

// The innermost reason of HDF5's last error, or "unknown reason".
std::string hdf5_reason();

// Variable-length UTF-8, as h5py writes and expects it.
Hdf5Handle hdf5_text_type();
// int8 with the names FALSE and TRUE, which h5py shows as bool.
Hdf5Handle hdf5_bool_type();
// Type of a tensor's elements in the file (little-endian); invalid for types that are not written:
// all but float32, float64, int64, int32, int8, uint8 and bool.
Hdf5Handle hdf5_type(at::ScalarType type);

}  // namespace internal
}  // namespace quell

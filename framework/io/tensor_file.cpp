#include "framework/io/tensor_file.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <algorithm>
#include <limits>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/io/safetensors.h"
#include "framework/io/torch_file.h"

namespace quell {

std::unique_ptr<TensorFile> open_tensor_file(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  if (ending == ".bin" || ending == ".pt" || ending == ".pth") {
    return std::make_unique<TorchFile>(path);
  }
  return std::make_unique<SafetensorsFile>(path);
}

namespace internal {

int64_t checked_bytes(const std::vector<int64_t>& shape, at::ScalarType type) {
  constexpr size_t kMostDimensions = 64;
  if (shape.size() > kMostDimensions) return -1;
  // Zeros count as one here: LibTorch multiplies all dimensions for strides, in any order.
  int64_t bytes = static_cast<int64_t>(c10::elementSize(type));
  bool empty = false;
  for (const int64_t dimension : shape) {
    if (dimension < 0) return -1;
    empty |= dimension == 0;
    const int64_t factor = std::max<int64_t>(dimension, 1);
    if (bytes > std::numeric_limits<int64_t>::max() / factor) return -1;
    bytes *= factor;
  }
  return empty ? 0 : bytes;
}

at::Tensor allocate(const std::filesystem::path& path, const std::string& name,
                    const std::vector<int64_t>& shape, at::ScalarType type) {
  try {
    return at::empty(shape, type);
  } catch (const std::exception&) {  // LibTorch reports memory in several ways
    throw DataError(fmt::format("{}: tensor \"{}\": not enough memory for its {} bytes",
                                path.string(), name, checked_bytes(shape, type)));
  }
}

void normalize_bool(at::Tensor& tensor) {
  auto* bytes = static_cast<unsigned char*>(tensor.mutable_data_ptr());
  std::transform(bytes, bytes + tensor.numel(), bytes,
                 [](unsigned char byte) -> unsigned char { return byte != 0; });
}

void no_such_tensor(const std::filesystem::path& path, const std::string& name,
                    const std::vector<std::string>& names) {
  // A model has hundreds of tensors: name the nearest, never all of them.
  const auto match = closest_match(name, names);
  throw DataError(fmt::format("{}: no tensor \"{}\" among its {} tensors{}", path.string(), name,
                              names.size(),
                              match ? fmt::format("; did you mean \"{}\"?", *match) : ""));
}

}  // namespace internal
}  // namespace quell
